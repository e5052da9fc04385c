//! Commands inside a running container.

use std::time::Duration;

use bollard::container::LogOutput;
use bollard::exec::{CreateExecOptions, StartExecOptions, StartExecResults};
use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use tokio::io::AsyncWriteExt;

use super::{Engine, refused, within};
use crate::error::EngineError;

/// A command to run. Secrets go through standard input, never into the command line.
#[derive(Debug, Clone, Default)]
pub struct ExecSpec {
    /// Program and arguments.
    pub command: Vec<String>,
    /// User, where not the container's.
    pub user: Option<String>,
    /// Limit; `None`: two minutes.
    pub limit: Option<Duration>,
}

impl ExecSpec {
    /// A command with the container's user and the usual limit.
    #[must_use]
    pub fn new<S: Into<String>>(command: impl IntoIterator<Item = S>) -> Self {
        Self {
            command: command.into_iter().map(Into::into).collect(),
            ..Self::default()
        }
    }

    /// The same with another limit.
    #[must_use]
    pub fn within(mut self, limit: Duration) -> Self {
        self.limit = Some(limit);
        self
    }
}

/// How a command ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExecOutput {
    /// Exit code.
    pub code: i64,
    /// Standard output.
    pub stdout: Vec<u8>,
    /// Standard error.
    pub stderr: Vec<u8>,
}

impl ExecOutput {
    /// Standard output as text, without the last line end.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).trim_end().to_owned()
    }
}

impl Engine {
    /// Runs a command to its end, whatever its exit code.
    pub async fn exec(&self, container: &str, spec: &ExecSpec) -> Result<ExecOutput, EngineError> {
        self.exec_with_input(container, spec, futures_util::stream::empty())
            .await
    }

    /// Runs a command and fails where its exit code is not 0, with the end of what it printed.
    pub async fn exec_ok(&self, container: &str, spec: &ExecSpec) -> Result<ExecOutput, EngineError> {
        succeeded(container, spec, self.exec(container, spec).await?)
    }

    /// Runs a command with `input` on its standard input, and fails where its exit code is not 0.
    pub async fn exec_ok_with_input(
        &self,
        container: &str,
        spec: &ExecSpec,
        input: impl Stream<Item = Result<Bytes, EngineError>> + Send,
    ) -> Result<ExecOutput, EngineError> {
        succeeded(container, spec, self.exec_with_input(container, spec, input).await?)
    }

    async fn exec_with_input(
        &self,
        container: &str,
        spec: &ExecSpec,
        input: impl Stream<Item = Result<Bytes, EngineError>> + Send,
    ) -> Result<ExecOutput, EngineError> {
        let action = format!("run `{}` in {container}", spec.command.join(" "));
        let limit = spec.limit.unwrap_or(Duration::from_mins(2));
        within(limit, &action, self.run(container, spec, &action, input)).await
    }

    async fn run(
        &self,
        container: &str,
        spec: &ExecSpec,
        action: &str,
        input: impl Stream<Item = Result<Bytes, EngineError>> + Send,
    ) -> Result<ExecOutput, EngineError> {
        let options = CreateExecOptions {
            attach_stdin: Some(true),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            cmd: Some(spec.command.clone()),
            user: spec.user.clone(),
            ..CreateExecOptions::default()
        };
        let exec = self
            .docker
            .create_exec(container, options)
            .await
            .map_err(refused(action))?;
        let start = StartExecOptions {
            output_capacity: Some(64 * 1024),
            ..StartExecOptions::default()
        };
        let started = self
            .docker
            .start_exec(&exec.id, Some(start))
            .await
            .map_err(refused(action))?;
        let mut result = ExecOutput::default();
        if let StartExecResults::Attached {
            mut output,
            input: mut stdin,
        } = started
        {
            let write = async {
                let mut input = std::pin::pin!(input);
                while let Some(chunk) = input.next().await {
                    // A command that has read enough closes its end: its exit code tells, not the broken pipe.
                    if stdin.write_all(&chunk?).await.is_err() {
                        break;
                    }
                }
                let _ = stdin.shutdown().await;
                Ok::<(), EngineError>(())
            };
            let read = async {
                while let Some(chunk) = output.next().await {
                    match chunk.map_err(refused(action))? {
                        LogOutput::StdErr { message } => result.stderr.extend_from_slice(&message),
                        LogOutput::StdOut { message } | LogOutput::Console { message } => {
                            result.stdout.extend_from_slice(&message);
                        }
                        LogOutput::StdIn { .. } => {}
                    }
                }
                Ok::<(), EngineError>(())
            };
            tokio::try_join!(write, read)?;
        }
        let ended = self.docker.inspect_exec(&exec.id).await.map_err(refused(action))?;
        result.code = ended.exit_code.unwrap_or(-1);
        Ok(result)
    }
}

fn succeeded(container: &str, spec: &ExecSpec, output: ExecOutput) -> Result<ExecOutput, EngineError> {
    if output.code == 0 {
        return Ok(output);
    }
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.trim().lines().collect();
    Err(EngineError::Command {
        container: container.to_owned(),
        command: spec.command.join(" "),
        code: output.code,
        output: lines[lines.len().saturating_sub(20)..].join("\n"),
    })
}
