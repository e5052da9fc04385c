//! An engine whose API fails in one call at a time: a proxy in front of the real one.

use std::io::{Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

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
