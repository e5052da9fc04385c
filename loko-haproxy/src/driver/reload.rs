//! A new configuration in a running container: written beside, checked, renamed, signalled, confirmed, else put back.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use loko_config::names::EnvName;
use loko_engine::EngineError;
use loko_engine::container::short_hash;
use loko_engine::driver::{ExecSpec, File};
use tokio::time::{Instant, sleep};

use super::{Edge, Found, http};
use crate::configuration::{REVISION_PATH, Settings, decide};
use crate::container::{CONFIGURATION, DIRECTORY, ROUTES, routes_file};
use crate::error::HaproxyError;
use crate::facts;
use crate::parse;
use crate::render::{Rendered, render};
use crate::routes::Routes;

/// How long a new process may take. It binds at once or tries for two seconds.
const TAKE_OVER: Duration = Duration::from_secs(15);
/// An answer within this time comes from a worker that has time to hand its sockets over; the master gives it one second.
const AT_EASE: Duration = Duration::from_millis(200);
/// How long such an answer is waited for.
const MOST_EASE: Duration = Duration::from_secs(10);
/// Exit code of the script where HAProxy does not take the file.
const REFUSED: i64 = 3;
/// Exit code of the script where the files are not those that the change was made from.
const CHANGED: i64 = 4;

impl Edge {
    /// Brings a running container to the configuration of `routes`; false where it was there already. `environment` is the
    /// one whose routes changed. With `facts_known` the settings are those that are served, else the container is asked.
    pub(super) async fn change(
        &self,
        found: &Found,
        routes: &BTreeMap<EnvName, Routes>,
        environment: &EnvName,
        settings: &Settings,
        facts_known: bool,
    ) -> Result<bool, HaproxyError> {
        let mut settings = settings.clone();
        if !facts_known {
            let command = ExecSpec::new(["sh", "-c", facts::COMMAND]);
            let output = self.engine.exec(&self.names.container, &command).await?;
            let facts = facts::read(&output.text(), self.engine.facts().cpus);
            (settings.limits, settings.prometheus) = (facts.limits, facts.prometheus);
        }
        let rendered = render(&decide(routes, &settings));
        let stored = routes.get(environment).map(serde_yaml::to_string).transpose();
        let stored = stored.map_err(|error| HaproxyError::Stored {
            environment: environment.clone(),
            message: error.to_string(),
        })?;
        let same_routes = found.has_routes(environment, stored.as_ref());
        let same_file = found.has(CONFIGURATION, &rendered.text);
        if !same_file && same_routes && self.is_left_to_newer(found).await {
            return Ok(false);
        }
        if same_file {
            if !same_routes {
                // Something that HAProxy has no part in: a UDP port.
                self.write_routes(environment, stored.as_deref(), &unchanged(found))
                    .await?;
            }
            if self.serves(&rendered.revision).await {
                return Ok(false);
            }
            // Somebody was stopped between the rename and the signal.
            let since = unix_now();
            self.script("kill -USR2 1").await?;
            return self.confirmed(&rendered.revision, since).await.map(|()| true);
        }
        self.at_ease().await;
        let since = unix_now();
        self.write(found, environment, &rendered, stored.as_deref()).await?;
        if let Err(error) = self.confirmed(&rendered.revision, since).await {
            if self.is_in_place(&rendered.revision).await {
                self.put_back(found, environment, &rendered.revision).await?;
                return Err(error);
            }
            return Err(HaproxyError::Contended { times: 1 });
        }
        Ok(true)
    }

    /// Whether what is served was written by a newer version, and is served.
    pub(super) async fn is_left_to_newer(&self, found: &Found) -> bool {
        let served = found.files.get(CONFIGURATION).and_then(|text| parse::revision(text));
        match served.filter(|_| found.is_by_newer()) {
            Some(served) => self.serves(served).await,
            None => false,
        }
    }

    /// Waits until the process that answers serves `revision`; false where it did not in time, or said in its log (of after
    /// `since`) that it does not.
    pub(super) async fn confirm(&self, revision: &str, since: Option<i32>) -> bool {
        let start = Instant::now();
        let mut next_look = Duration::from_millis(500);
        while start.elapsed() < TAKE_OVER {
            if self.serves(revision).await {
                return true;
            }
            if start.elapsed() > next_look {
                next_look += Duration::from_millis(500);
                let gone = !self
                    .engine
                    .container(&self.names.container)
                    .await
                    .is_ok_and(|c| c.is_some_and(|c| c.is_running()));
                if gone || self.failed_since(since).await || !self.is_in_place(revision).await {
                    return false;
                }
            }
            sleep(Duration::from_millis(10)).await;
        }
        false
    }

    async fn confirmed(&self, revision: &str, since: i32) -> Result<(), HaproxyError> {
        if self.confirm(revision, Some(since)).await {
            return Ok(());
        }
        let log = self.log_since(since).await;
        let container = self.names.container.clone();
        let message = if log.contains("Reloading HAProxy") {
            cause(&log).unwrap_or_else(|| "the new process does not answer".to_owned())
        } else {
            // HAProxy 3.1.0 to 3.3.0 and some after: "mworker: can't use signals after a failed reload", mended in
            // January 2026.
            format!(
                "it hears no signals, as some versions do after a change that failed; `docker restart {container}` mends it"
            )
        };
        Err(HaproxyError::Reload { container, message })
    }

    /// Waits until the worker that serves is not too busy to hand its sockets over: where it does not in a second, the new one
    /// binds its own, and connections that wait at those of before are reset (`sock_get_old_sockets` in HAProxy's `src/sock.c`).
    /// One that stays busy, or does not answer, holds nothing up for long.
    async fn at_ease(&self) {
        let start = Instant::now();
        while start.elapsed() < MOST_EASE {
            let asked = Instant::now();
            let answer = http::get(self.statistics, REVISION_PATH).await;
            if answer.is_none() || asked.elapsed() < AT_EASE {
                return;
            }
            sleep(AT_EASE).await;
        }
    }

    /// Whether any process answers. One that was just started is given a moment; one that the engine starts over and over
    /// never does.
    pub(super) async fn answers(&self) -> bool {
        let start = Instant::now();
        loop {
            if http::get(self.statistics, REVISION_PATH).await.is_some() {
                return true;
            }
            if start.elapsed() > Duration::from_secs(2) {
                return false;
            }
            sleep(Duration::from_millis(50)).await;
        }
    }

    pub(super) async fn serves(&self, revision: &str) -> bool {
        http::get(self.statistics, REVISION_PATH)
            .await
            .is_some_and(|served| served.trim() == revision)
    }

    /// Writes both files beside, has HAProxy check its own, and puts them in place: the routes first, because they are what
    /// the next run renders from.
    async fn write(
        &self,
        found: &Found,
        environment: &EnvName,
        Rendered { text, revision }: &Rendered,
        stored: Option<&str>,
    ) -> Result<(), HaproxyError> {
        let routes = routes_file(environment);
        // A name that nobody else's change has.
        let new = format!("new-{revision}");
        let mut files = vec![File::new(format!("{DIRECTORY}/{CONFIGURATION}.{new}"), text.as_str())];
        if let Some(stored) = stored {
            files.push(File::new(format!("{DIRECTORY}/{routes}.{new}"), stored));
        }
        let put = self.engine.put_files(&self.names.container, &files).await;
        let place = if stored.is_some() {
            format!("mv -f {routes}.{new} {routes}")
        } else {
            format!("rm -f {routes}")
        };
        let unchanged = unchanged(found);
        // Last what runs leave that are stopped half way.
        let script = format!(
            "haproxy -c -f {CONFIGURATION}.{new} || exit {REFUSED}\n\
             {unchanged}\n\
             [ ! -f {CONFIGURATION} ] || ln -f {CONFIGURATION} {CONFIGURATION}.old\n\
             {place}\n\
             mv -f {CONFIGURATION}.{new} {CONFIGURATION}\n\
             kill -USR2 1\n\
             find . -name '*.new-*' -cmin +60 -delete 2>/dev/null || true"
        );
        let written = match put {
            Ok(()) => self.script(&script).await,
            Err(error) => Err(error.into()),
        };
        if written.is_err() {
            let _ = self
                .script(&format!("rm -f {CONFIGURATION}.{new} {routes}.{new}"))
                .await;
        }
        written
    }

    /// The routes alone, where the script `condition` does not end it.
    async fn write_routes(
        &self,
        environment: &EnvName,
        stored: Option<&str>,
        condition: &str,
    ) -> Result<(), HaproxyError> {
        let path = routes_file(environment);
        let Some(stored) = stored else {
            return self.script(&format!("{condition}\nrm -f {path}")).await;
        };
        let new = format!("{path}.new-{}", short_hash(stored.as_bytes()));
        let file = File::new(format!("{DIRECTORY}/{new}"), stored);
        self.engine.put_files(&self.names.container, &[file]).await?;
        self.script(&format!("{condition}\nmv -f {new} {path}")).await
    }

    /// The files of before, and the process that serves them. What others have put in place of ours stays.
    async fn put_back(&self, found: &Found, environment: &EnvName, revision: &str) -> Result<(), HaproxyError> {
        let before = found.files.get(&routes_file(environment)).map(String::as_str);
        let ours = format!("{ALONE}\ngrep -qx '# Revision {revision}' {CONFIGURATION} || exit {CHANGED}");
        self.write_routes(environment, before, &ours).await?;
        self.script(&format!(
            "{ours}\nmv -f {CONFIGURATION}.old {CONFIGURATION}\nkill -USR2 1"
        ))
        .await?;
        if let Some(before) = found.files.get(CONFIGURATION).and_then(|text| parse::revision(text)) {
            self.confirm(before, None).await;
        }
        Ok(())
    }

    async fn script(&self, script: &str) -> Result<(), HaproxyError> {
        let whole = format!("set -e\ncd {DIRECTORY}\n{script}");
        let command = ExecSpec::new(["sh", "-c", whole.as_str()]);
        let output = self.engine.exec(&self.names.container, &command).await?;
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        match output.code {
            0 => Ok(()),
            CHANGED => Err(HaproxyError::Contended { times: 1 }),
            REFUSED => Err(HaproxyError::Refused {
                message: cause(&said).unwrap_or(said),
            }),
            code => Err(HaproxyError::Engine(EngineError::Command {
                container: self.names.container.clone(),
                command: script.lines().last().unwrap_or_default().to_owned(),
                code,
                output: said.trim().to_owned(),
            })),
        }
    }

    /// Whether the configuration in place is the one of `revision`; also where that cannot be asked.
    async fn is_in_place(&self, revision: &str) -> bool {
        let script = format!("cd {DIRECTORY} && ! grep -qx '# Revision {revision}' {CONFIGURATION}");
        let command = ExecSpec::new(["sh", "-c", script.as_str()]);
        let other = self.engine.exec(&self.names.container, &command).await;
        !other.is_ok_and(|output| output.code == 0)
    }

    async fn failed_since(&self, since: Option<i32>) -> bool {
        let Some(since) = since else { return false };
        let log = self.log_since(since).await;
        // 3.0 says the first, from 3.1 on the master says the second.
        ["Loading failure", "Failed to load worker"]
            .iter()
            .any(|words| log.contains(words))
    }

    async fn log_since(&self, since: i32) -> String {
        self.engine.log_lines_since(&self.names.container, 500, since).await
    }
}

/// Lines of a script that let one such script run after another. The directory is locked, because a file would need space.
const ALONE: &str = "if command -v flock >/dev/null; then exec 9<.; flock 9; fi";

/// Lines of a script that end it where the files are not those that were found, see [`digest`].
fn unchanged(found: &Found) -> String {
    let files = format!("{CONFIGURATION} {ROUTES}/*.yaml");
    format!(
        "{ALONE}\n\
         [ \"$(LC_ALL=C; export LC_ALL; cat {files} 2>/dev/null | sha256sum | cut -c1-16)\" = {} ] || exit {CHANGED}",
        found.digest
    )
}

/// The same of files that were read: first the configuration, then the routes by name.
pub(super) fn digest(files: &BTreeMap<String, Vec<u8>>) -> String {
    let counts = |path: &str| {
        let name = path.strip_prefix(ROUTES).and_then(|rest| rest.strip_prefix('/'));
        // As the pattern matches.
        let stored = name.and_then(|name| name.strip_suffix(".yaml"));
        path == CONFIGURATION || stored.is_some_and(|stem| !stem.starts_with('.') && !stem.contains('/'))
    };
    let counted: Vec<&[u8]> = files
        .iter()
        .filter(|(path, _)| counts(path))
        .map(|(_, contents)| contents.as_slice())
        .collect();
    short_hash(&counted.concat())
}

/// HAProxy's own words for what went wrong: its first alert that is not the summary of others.
pub(super) fn cause(said: &str) -> Option<String> {
    let alerts = said.lines().filter(|line| line.starts_with("[ALERT]"));
    let words = |line: &str| {
        line.split_once(" : ")
            .map_or(line, |(_, words)| words)
            .trim()
            .to_owned()
    };
    let first = alerts
        .map(words)
        .find(|words| !words.contains("has no server available"));
    first.or_else(|| {
        said.lines()
            .rev()
            .find(|line| !line.trim().is_empty())
            .map(str::to_owned)
    })
}

/// Seconds since 1970 as the engine's log takes them.
fn unix_now() -> i32 {
    let seconds = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs());
    i32::try_from(seconds).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::cause;

    #[test]
    fn the_cause_is_haproxys_own_first_alert() {
        let said = "[NOTICE]   (1) : haproxy version is 3.0.11\n\
            [ALERT]    (9) : backend 'dev:nodes' has no server available!\n\
            [ALERT]    (1) : Binding [x.cfg:47] for frontend tcp: cannot bind socket (Address already in use)\n\
            [ALERT]    (1) : [haproxy.main()] Some protocols failed to start their listeners! Exiting.\n";
        assert_eq!(
            cause(said).unwrap(),
            "Binding [x.cfg:47] for frontend tcp: cannot bind socket (Address already in use)"
        );
        assert_eq!(
            cause("exec: \"haproxy\": not found\n").unwrap(),
            "exec: \"haproxy\": not found"
        );
        assert_eq!(cause("\n"), None);
    }
}
