//! Clients of a TCP port that a database listens on, which notice whatever goes wrong while something else happens.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

/// Nobody waits longer for an answer.
const PATIENCE: Duration = Duration::from_secs(15);
/// The inline command of the Redis protocol, and its answer.
const PING: &[u8] = b"PING\r\n";
const PONG: &[u8] = b"+PONG\r\n";

/// How many there are, and how they behave.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Crowd {
    /// Connect, ask once, close, and begin anew.
    pub(crate) reconnecting: usize,
    /// How long those wait in between.
    pub(crate) pause: Duration,
    /// Keep one connection, and ask twenty times a second.
    pub(crate) holding: usize,
}

/// Clients at work, until they are told to end.
#[derive(Debug)]
pub(crate) struct Clients {
    runtime: Runtime,
    shared: Arc<Shared>,
    tasks: Vec<JoinHandle<()>>,
    since: Instant,
}

#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    connections: AtomicU64,
    troubles: Mutex<Vec<Trouble>>,
}

/// Something that a client noticed.
#[derive(Debug, Clone)]
pub(crate) struct Trouble {
    /// When.
    pub(crate) at: Instant,
    /// `reconnect: …` or `hold: …`.
    pub(crate) what: String,
}

impl Clients {
    /// Starts them, and waits until each that holds a connection has been answered once.
    #[track_caller]
    pub(crate) fn start(address: &str, port: u16, crowd: Crowd) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let shared = Arc::new(Shared::default());
        let address = format!("{address}:{port}");
        let (ready, mut held) = tokio::sync::mpsc::unbounded_channel();
        let mut tasks: Vec<_> = (0..crowd.holding)
            .map(|_| runtime.spawn(hold(address.clone(), Arc::clone(&shared), ready.clone())))
            .collect();
        runtime.block_on(async {
            for _ in 0..crowd.holding {
                held.recv().await.unwrap();
            }
        });
        tasks.extend(
            (0..crowd.reconnecting)
                .map(|_| runtime.spawn(reconnect(address.clone(), crowd.pause, Arc::clone(&shared)))),
        );
        Self {
            runtime,
            shared,
            tasks,
            since: Instant::now(),
        }
    }

    /// What was noticed until now.
    pub(crate) fn troubles(&self) -> Vec<Trouble> {
        self.shared.troubles.lock().unwrap().clone()
    }

    /// How often somebody connected and was answered until now.
    pub(crate) fn connections(&self) -> u64 {
        self.shared.connections.load(Ordering::Relaxed)
    }

    /// Ends them all. Gives how often one connected and was answered, and what was noticed.
    pub(crate) fn end(self) -> (u64, Vec<Trouble>) {
        self.shared.stop.store(true, Ordering::Relaxed);
        self.runtime.block_on(async {
            for task in self.tasks {
                task.await.unwrap();
            }
        });
        let troubles = self.shared.troubles.lock().unwrap().clone();
        (self.shared.connections.load(Ordering::Relaxed), troubles)
    }

    /// Ends them; nobody may have noticed anything.
    #[track_caller]
    pub(crate) fn noticed_nothing(self, during: &str) {
        let (started, since) = (self.connections(), self.since);
        let (connections, troubles) = self.end();
        println!(
            "measured: during {during} {connections} connections, {} troubles",
            troubles.len()
        );
        assert!(started > 0, "nobody connected");
        let told: Vec<String> = troubles
            .iter()
            .take(100)
            .map(|Trouble { at, what }| format!("after {:.1} s {what}", (*at - since).as_secs_f32()))
            .collect();
        assert!(
            troubles.is_empty(),
            "{} troubles during {during}: {told:#?}",
            troubles.len()
        );
    }
}

impl Shared {
    fn is_over(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    fn trouble(&self, what: String) {
        let at = Instant::now();
        self.troubles.lock().unwrap().push(Trouble { at, what });
    }
}

async fn reconnect(address: String, pause: Duration, shared: Arc<Shared>) {
    while !shared.is_over() {
        match within(once(&address)).await {
            Ok(()) => {
                shared.connections.fetch_add(1, Ordering::Relaxed);
            }
            Err(error) => shared.trouble(format!("reconnect: {error}")),
        }
        tokio::time::sleep(pause).await;
    }
}

async fn once(address: &str) -> std::io::Result<()> {
    let mut stream = TcpStream::connect(address).await?;
    ping(&mut stream).await
}

async fn hold(address: String, shared: Arc<Shared>, ready: tokio::sync::mpsc::UnboundedSender<()>) {
    let talk = async {
        let mut stream = within(TcpStream::connect(&address)).await?;
        within(ping(&mut stream)).await?;
        let _ = ready.send(());
        while !shared.is_over() {
            within(ping(&mut stream)).await?;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok::<(), std::io::Error>(())
    };
    if let Err(error) = talk.await {
        shared.trouble(format!("hold: {error}"));
        let _ = ready.send(());
    }
}

async fn ping(stream: &mut TcpStream) -> std::io::Result<()> {
    stream.write_all(PING).await?;
    let mut answer = [0; PONG.len()];
    stream.read_exact(&mut answer).await?;
    if answer == PONG {
        Ok(())
    } else {
        Err(std::io::Error::other("another's answer"))
    }
}

async fn within<T>(work: impl Future<Output = std::io::Result<T>>) -> std::io::Result<T> {
    let done = tokio::time::timeout(PATIENCE, work).await;
    done.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()))
}
