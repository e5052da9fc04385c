//! An engine whose API fails in one call at a time: a proxy in front of the real one, and what becomes of a create behind it.

use std::io::{Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::environment::Environment;
use crate::life::{is_long, up};
use crate::run::Output;
use crate::suite::{self, Suite};
use crate::trouble::nothing_is_left;
use crate::{Test, Topic};

pub(crate) const TOPIC: Topic = Topic {
    name: "faults",
    tests: &[
        Test("an_engine_that_fails_in_any_call_is_survived", &[], running),
        Test("a_first_create_on_it_leaves_nothing", &["curl", "dig"], first),
        Test("one_that_never_answers_is_given_up", &[], silent),
    ],
};

/// How many calls of a create meet each kind of failure.
const CALLS: usize = 7;

/// What happens to a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The connection is closed before anything is asked.
    Refused,
    /// The engine is asked, and its answer is lost.
    Dropped,
    /// The engine says that it failed.
    Failed,
    /// The engine takes a while.
    Delayed,
    /// The engine takes the call and never answers.
    Silent,
}

/// A socket that leads to the engine. Each connection carries one call, so that calls can be counted.
#[derive(Debug)]
pub(crate) struct Proxy {
    socket: PathBuf,
    calls: Arc<AtomicUsize>,
}

impl Proxy {
    /// Listens at `socket`; the call with number `at`, from 0, meets the fault.
    pub(crate) fn start(engine: &Path, socket: PathBuf, fault: Option<(usize, Fault)>) -> Self {
        let listener = UnixListener::bind(&socket).unwrap();
        let calls = Arc::new(AtomicUsize::new(0));
        let (counted, engine) = (Arc::clone(&calls), engine.to_owned());
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let number = counted.fetch_add(1, Ordering::Relaxed);
                let fault = fault.filter(|(at, _)| *at == number).map(|(_, fault)| fault);
                let engine = engine.clone();
                // An end that goes away ends its call.
                std::thread::spawn(move || drop(call(client, &engine, fault)));
            }
        });
        Self { socket, calls }
    }

    /// As `DOCKER_HOST` has it.
    pub(crate) fn endpoint(&self) -> String {
        format!("unix://{}", self.socket.display())
    }

    pub(crate) fn calls(&self) -> usize {
        self.calls.load(Ordering::Relaxed)
    }
}

fn call(mut client: UnixStream, engine: &Path, fault: Option<Fault>) -> std::io::Result<()> {
    if fault == Some(Fault::Refused) {
        return Ok(());
    }
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        client.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    match fault {
        Some(Fault::Failed) => {
            let body = "{\"message\":\"the engine is unwell\"}";
            let length = body.len();
            return client.write_all(
                format!(
                    "HTTP/1.1 500 Internal Server Error\r\nContent-Type: application/json\r\n\
                     Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
                )
                .as_bytes(),
            );
        }
        Some(Fault::Delayed) => std::thread::sleep(Duration::from_secs(2)),
        Some(Fault::Silent) => {
            // Until the client goes away.
            return std::io::copy(&mut client, &mut std::io::sink()).map(drop);
        }
        Some(Fault::Refused | Fault::Dropped) | None => {}
    }
    // What becomes a stream says so itself; everything else is one call.
    let text = String::from_utf8_lossy(&head).into_owned();
    if !text.to_ascii_lowercase().contains("\r\nupgrade:") {
        head.truncate(head.len() - 2);
        head.extend_from_slice(b"Connection: close\r\n\r\n");
    }
    let mut server = UnixStream::connect(engine)?;
    server.write_all(&head)?;
    let (mut from, mut to) = (client.try_clone()?, server.try_clone()?);
    let up = std::thread::spawn(move || {
        let copied = std::io::copy(&mut from, &mut to);
        // Where the client has said all, the engine hears of it.
        let _ = to.shutdown(std::net::Shutdown::Write);
        copied
    });
    if fault == Some(Fault::Dropped) {
        // Until the engine has begun to answer, so that it has done what it was asked.
        server.read_exact(&mut byte)?;
        return client.shutdown(std::net::Shutdown::Both);
    }
    std::io::copy(&mut server, &mut client)?;
    client.shutdown(std::net::Shutdown::Both)?;
    drop(up);
    Ok(())
}

/// The real engine, and where proxies in front of it listen.
struct Front {
    engine: PathBuf,
    directory: tempfile::TempDir,
}

impl Front {
    /// `None` where the engine does not listen at a socket.
    fn new() -> Option<Self> {
        let host = std::env::var("DOCKER_HOST").unwrap_or_else(|_| "unix:///var/run/docker.sock".to_owned());
        let Some(engine) = host.strip_prefix("unix://") else {
            println!("skipped: the engine does not listen at a socket");
            return None;
        };
        Some(Self {
            engine: engine.into(),
            directory: tempfile::tempdir().unwrap(),
        })
    }

    /// A create whose call with that number meets a fault. Returns how many calls there were, too.
    fn create(&self, environment: &Environment, name: &str, fault: Option<(usize, Fault)>) -> (Output, usize) {
        let proxy = Proxy::start(&self.engine, self.directory.path().join(name), fault);
        let create = environment.loko("create").env("DOCKER_HOST", proxy.endpoint());
        // Engines have two minutes for an answer.
        let output = create.limit(Duration::from_mins(4)).any();
        (output, proxy.calls())
    }
}

/// Whether a command ended well, or with an error that says what it is.
fn is_clear(output: &Output) -> bool {
    let told = output.stderr.contains("loko::") && !output.stderr.contains("panicked");
    output.code == Some(0) || told && output.code.is_some_and(|code| (1..10).contains(&code))
}

fn running(suite: &Suite) {
    let beaten = &suite.beaten;
    up(beaten);
    let Some(front) = Front::new() else { return };
    let (output, calls) = front.create(beaten, "all", None);
    assert_eq!(output.code, Some(0), "{output}");
    assert!(calls > 5, "{calls} calls are no create");
    let before = (suite::started_at(&beaten.name), suite::ours());
    let kinds = [Fault::Failed, Fault::Refused, Fault::Dropped, Fault::Delayed];
    for (kind, fault) in kinds.into_iter().enumerate() {
        // Each kind at other calls; a slow answer is much the same at every call.
        let count = if fault == Fault::Delayed {
            3
        } else if is_long() {
            calls
        } else {
            CALLS.min(calls)
        };
        for at in (0..count).map(|index| (index * calls / count + kind).min(calls - 1)) {
            let (output, _) = front.create(beaten, &format!("{kind}-{at}"), Some((at, fault)));
            let is_well = output.code == Some(0) || fault != Fault::Delayed && is_clear(&output);
            assert!(is_well, "{fault:?} at call {at} of {calls}: {output}");
        }
    }
    beaten.loko("create").ok();
    assert_eq!((suite::started_at(&beaten.name), suite::ours()), before);
    suite.settled(beaten);
}

fn first(suite: &Suite) {
    let beaten = &suite.beaten;
    beaten.write(&beaten.yaml);
    let Some(front) = Front::new() else { return };
    let destroy = || drop(beaten.loko("destroy --yes").ok());
    destroy();
    let (output, calls) = front.create(beaten, "whole", None);
    assert_eq!(output.code, Some(0), "{output}");
    destroy();
    let mut before = suite.before.clone();
    before.extend(suite::ours().into_iter().filter(|thing| !thing.contains(&beaten.name)));
    let kinds = [Fault::Failed, Fault::Dropped, Fault::Refused];
    let count = if is_long() { 36 } else { 3 };
    for index in 0..count {
        let (at, fault) = (calls * (2 * index + 1) / (2 * count), kinds[index % kinds.len()]);
        let (output, _) = front.create(beaten, &format!("first-{at}"), Some((at, fault)));
        assert!(is_clear(&output), "{fault:?} at call {at} of {calls}: {output}");
        if output.code == Some(0) {
            beaten.answers();
            destroy();
        } else {
            output.says("what was made is taken away again");
        }
        nothing_is_left(beaten, &before);
    }
}

fn silent(suite: &Suite) {
    if !is_long() {
        println!("skipped: LOKO_E2E_LONG is not set");
        return;
    }
    let beaten = &suite.beaten;
    up(beaten);
    let Some(front) = Front::new() else { return };
    let (_, calls) = front.create(beaten, "counted", None);
    for at in [0, calls / 2, calls - 1] {
        let (output, _) = front.create(beaten, &format!("silent-{at}"), Some((at, Fault::Silent)));
        assert!(is_clear(&output), "silent at call {at} of {calls}: {output}");
    }
    suite.settled(beaten);
}
