//! What this host runs and listens on, as the kernel says it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::run::Run;

/// Command lines, words joined by blanks.
pub(crate) type CommandLines = BTreeSet<String>;

/// Collects every command line on this host until it is told to end.
#[derive(Debug)]
pub(crate) struct Watching {
    end: Arc<AtomicBool>,
    thread: JoinHandle<CommandLines>,
}

/// Begins to watch.
pub(crate) fn command_lines() -> Watching {
    let end = Arc::new(AtomicBool::new(false));
    let ended = Arc::clone(&end);
    let thread = std::thread::spawn(move || {
        let mut seen = CommandLines::new();
        while !ended.load(Ordering::Relaxed) {
            seen.extend(now());
            std::thread::sleep(Duration::from_millis(10));
        }
        seen
    });
    Watching { end, thread }
}

impl Watching {
    pub(crate) fn end(self) -> CommandLines {
        self.end.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

fn now() -> Vec<String> {
    let Ok(processes) = fs_err::read_dir("/proc") else {
        return Vec::new();
    };
    processes
        .filter_map(|entry| {
            // A process may end while it is read.
            let words = fs_err::read(entry.ok()?.path().join("cmdline")).ok()?;
            let line = String::from_utf8_lossy(&words).replace('\0', " ");
            (!line.is_empty()).then_some(line)
        })
        .collect()
}

/// A socket that listens: `tcp 127.0.0.1:443`, and who has it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Socket {
    pub(crate) protocol: String,
    pub(crate) address: String,
    pub(crate) port: String,
    pub(crate) process: String,
}

/// All sockets of this host that listen, TCP and UDP.
pub(crate) fn sockets() -> BTreeSet<Socket> {
    let listed = Run::new("ss").words("-Hltnup").ok();
    let socket = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (address, port) = fields.get(4)?.rsplit_once(':')?;
        Some(Socket {
            protocol: (*fields.first()?).to_owned(),
            address: address.trim_matches(['[', ']']).to_owned(),
            port: port.to_owned(),
            process: fields.get(6..).unwrap_or_default().join(" "),
        })
    };
    listed.stdout.lines().filter_map(socket).collect()
}
