//! Programs in a scrubbed environment. What a test does not expect of one, it shows whole.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::Value;

/// Nothing that a test runs takes longer, on any machine that the suite is for.
const LIMIT: Duration = Duration::from_mins(6);

/// A program that is to be run.
#[derive(Debug)]
pub(crate) struct Run {
    command: Command,
    line: String,
    stdin: Option<String>,
    limit: Duration,
}

/// A program that ended.
#[derive(Debug)]
pub(crate) struct Output {
    pub(crate) line: String,
    /// `None`: a signal ended it.
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) elapsed: Duration,
}

impl Run {
    /// Nothing of the caller's environment reaches the program but `PATH` and where the engine is.
    pub(crate) fn new(program: impl AsRef<OsStr>) -> Self {
        let program = program.as_ref();
        let mut command = Command::new(program);
        command.env_clear().env("LC_ALL", "C.UTF-8").stdin(Stdio::null());
        command.envs(inherited());
        let name = PathBuf::from(program);
        Self {
            command,
            line: name.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            stdin: None,
            limit: LIMIT,
        }
    }

    pub(crate) fn args<A: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        for arg in args {
            self.line.push(' ');
            self.line.push_str(&arg.as_ref().to_string_lossy());
            self.command.arg(arg);
        }
        self
    }

    /// Arguments as a shell would split them, for those without blanks in them.
    pub(crate) fn words(self, words: &str) -> Self {
        self.args(words.split_whitespace())
    }

    pub(crate) fn env(mut self, key: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(key, value);
        self
    }

    pub(crate) fn dir(mut self, directory: impl AsRef<Path>) -> Self {
        self.command.current_dir(directory);
        self
    }

    /// What it reads on its standard input.
    pub(crate) fn stdin(mut self, text: String) -> Self {
        self.stdin = Some(text);
        self
    }

    pub(crate) fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Runs it; it must end with 0.
    #[track_caller]
    pub(crate) fn ok(self) -> Output {
        self.ends_with(0)
    }

    /// Runs it; it must end with this exit code.
    #[track_caller]
    pub(crate) fn ends_with(self, code: i32) -> Output {
        let output = self.any();
        assert!(output.code == Some(code), "exit code {code} was expected of\n{output}");
        output
    }

    /// Runs it, however it ends.
    #[track_caller]
    pub(crate) fn any(self) -> Output {
        self.start().wait()
    }

    /// Starts it.
    #[track_caller]
    pub(crate) fn start(mut self) -> Running {
        self.command.stdout(Stdio::piped()).stderr(Stdio::piped());
        if self.stdin.is_some() {
            self.command.stdin(Stdio::piped());
        }
        let started = Instant::now();
        let mut child = match self.command.spawn() {
            Ok(child) => child,
            Err(error) => panic!("`{}` cannot be run: {error}", self.line),
        };
        if let (Some(text), Some(mut stdin)) = (self.stdin, child.stdin.take()) {
            // On a thread of its own: it may be more than a pipe holds. A program that does not read it says so itself.
            std::thread::spawn(move || stdin.write_all(text.as_bytes()));
        }
        let (sender, lines) = std::sync::mpsc::channel();
        let seen = |sender: Sender<String>| {
            move |line: &str| {
                // Nobody may be interested.
                let _ = sender.send(line.to_owned());
            }
        };
        let stdout = reader(child.stdout.take().unwrap(), seen(sender.clone()));
        let stderr = reader(child.stderr.take().unwrap(), seen(sender));
        Running {
            child,
            line: self.line,
            deadline: started + self.limit,
            started,
            lines,
            stdout,
            stderr,
        }
    }
}

/// A program that runs.
#[derive(Debug)]
pub(crate) struct Running {
    child: Child,
    line: String,
    started: Instant,
    deadline: Instant,
    /// Lines of both its outputs as they come.
    lines: Receiver<String>,
    stdout: JoinHandle<String>,
    stderr: JoinHandle<String>,
}

impl Running {
    /// Waits for its end.
    #[track_caller]
    pub(crate) fn wait(mut self) -> Output {
        let (code, in_time) = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break (status.code(), true);
            }
            if Instant::now() > self.deadline {
                let _ = self.child.kill();
                break (self.child.wait().unwrap().code(), false);
            }
            std::thread::sleep(Duration::from_millis(2));
        };
        let output = Output {
            elapsed: self.started.elapsed(),
            line: self.line,
            code,
            stdout: self.stdout.join().unwrap(),
            stderr: self.stderr.join().unwrap(),
        };
        assert!(in_time, "it took too long and was ended:\n{output}");
        output
    }

    /// Waits until it writes a line that is looked for.
    #[track_caller]
    pub(crate) fn writes(&self, limit: Duration, what: &str, wanted: impl Fn(&str) -> bool) {
        let started = Instant::now();
        let mut said = Vec::new();
        while let Ok(line) = self.lines.recv_timeout(limit.saturating_sub(started.elapsed())) {
            if wanted(&line) {
                return;
            }
            said.push(line);
        }
        panic!("`{}` did not write {what}:\n{}", self.line, said.join("\n"));
    }

    /// The same, where it may also end without: false then.
    pub(crate) fn writes_one(&self, limit: Duration, mut wanted: impl FnMut(&str) -> bool) -> bool {
        let started = Instant::now();
        while let Ok(line) = self.lines.recv_timeout(limit.saturating_sub(started.elapsed())) {
            if wanted(&line) {
                return true;
            }
        }
        false
    }

    /// SIGINT, to it alone: what Ctrl-C does.
    pub(crate) fn press(&self) {
        self.signal("INT");
    }

    /// A signal by its name, to it alone.
    pub(crate) fn signal(&self, name: &str) {
        let name = format!("-{name}");
        Run::new("kill").args([&name, &self.child.id().to_string()]).ok();
    }

    /// The same, and waits for its end.
    pub(crate) fn interrupt(self) -> Output {
        self.press();
        self.wait()
    }

    /// SIGKILL, to it alone: what a crash or a closed lid does.
    pub(crate) fn kill(mut self) -> Output {
        self.child.kill().unwrap();
        self.wait()
    }
}

impl Output {
    /// Its standard output without blanks around it.
    pub(crate) fn text(&self) -> &str {
        self.stdout.trim()
    }

    /// Its standard output, which is JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        match serde_json::from_str(&self.stdout) {
            Ok(value) => value,
            Err(error) => panic!("no JSON ({error}):\n{self}"),
        }
    }

    /// Asserts that a stream says something, whatever its line breaks.
    #[track_caller]
    pub(crate) fn says(&self, text: &str) -> &Self {
        let words = |text: &str| {
            let plain = text.replace(['│', '╰', '─', '▶'], " ");
            plain.split_whitespace().collect::<Vec<_>>().join(" ")
        };
        let said = words(&self.stdout) + " " + &words(&self.stderr);
        assert!(said.contains(&words(text)), "`{text}` was expected of\n{self}");
        self
    }
}

impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let code = self.code.map_or("a signal".to_owned(), |code| code.to_string());
        write!(
            f,
            "$ {}\n(ended with {code} after {:.1} s)\n--- stdout\n{}\n--- stderr\n{}",
            self.line,
            self.elapsed.as_secs_f64(),
            self.stdout,
            self.stderr
        )
    }
}

fn reader(from: impl Read + Send + 'static, seen: impl Fn(&str) + Send + 'static) -> JoinHandle<String> {
    std::thread::spawn(move || {
        let mut text = String::new();
        let mut from = BufReader::new(from);
        let mut line = Vec::new();
        while from.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
            let piece = String::from_utf8_lossy(&line);
            seen(piece.trim_end());
            text.push_str(&piece);
            line.clear();
        }
        text
    })
}

/// `PATH`, and the engine that the caller's `docker` command means: its contexts are in the home that programs are not given.
fn inherited() -> &'static BTreeMap<String, OsString> {
    static INHERITED: OnceLock<BTreeMap<String, OsString>> = OnceLock::new();
    INHERITED.get_or_init(|| {
        let mut kept: BTreeMap<String, OsString> = ["PATH", "DOCKER_HOST"]
            .into_iter()
            .filter_map(|key| Some((key.to_owned(), std::env::var_os(key)?)))
            .collect();
        if !kept.contains_key("DOCKER_HOST") {
            let context = Command::new("docker")
                .args(["context", "inspect", "--format", "{{.Endpoints.docker.Host}}"])
                .output();
            let host = context.ok().filter(|output| output.status.success());
            let host = host.and_then(|output| String::from_utf8(output.stdout).ok());
            if let Some(host) = host.filter(|host| !host.trim().is_empty()) {
                kept.insert("DOCKER_HOST".to_owned(), host.trim().into());
            }
        }
        kept
    })
}

/// Where a program is.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    std::env::split_paths(&std::env::var_os("PATH")?)
        .map(|directory| directory.join(program))
        .find(|path| path.is_file())
}

/// Tries until it succeeds; what it last failed with is shown when the limit is over.
#[track_caller]
pub(crate) fn eventually<T>(limit: Duration, what: &str, mut attempt: impl FnMut() -> Result<T, String>) -> T {
    let started = Instant::now();
    loop {
        match attempt() {
            Ok(value) => return value,
            Err(last) if started.elapsed() > limit => {
                panic!("{what}: not within {} s; the last answer:\n{last}", limit.as_secs())
            }
            Err(_) => std::thread::sleep(Duration::from_millis(200)),
        }
    }
}
