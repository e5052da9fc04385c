//! Ctrl-C, or SIGTERM: once, and what runs is ended in order; twice, and it ends at once.
//!
//! ```text
//! hold ──→ Held ── pressed once ──→ no step begins any more, those that run have a moment
//!            │           └─ pressed twice ──→ the program ends
//!            └ dropped: the next press ends the program
//! ```
//!
//! Where nothing was ever held, a press does what the system makes of it.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::time::Duration;

use tokio::sync::watch;

use crate::error::CliError;
use crate::progress::{Outcome, Progress};
use crate::{exit, output};

/// How long a step that runs has to come to its end by itself.
pub(crate) const GRACE: Duration = Duration::from_secs(5);

/// Whether somebody holds it. Signals are of the whole process, and so are these.
static HELD: AtomicBool = AtomicBool::new(false);
/// What the program ends with: the first press decides.
static CODE: AtomicU8 = AtomicU8::new(exit::INTERRUPTED);
static PRESSED: OnceLock<watch::Sender<bool>> = OnceLock::new();

/// Makes the first Ctrl-C a wish rather than the end, until it is dropped.
#[derive(Debug)]
pub(crate) struct Held {
    pressed: watch::Receiver<bool>,
}

/// The exit code of what was ended so.
pub(crate) fn code() -> u8 {
    CODE.load(Ordering::SeqCst)
}

/// Holds the first Ctrl-C back. To be called within the runtime.
pub(crate) fn hold() -> Held {
    let pressed = PRESSED.get_or_init(|| {
        // On a thread of the runtime: the main one may wait for a lock.
        tokio::spawn(listen());
        watch::Sender::new(false)
    });
    HELD.store(true, Ordering::SeqCst);
    Held {
        pressed: pressed.subscribe(),
    }
}

impl Held {
    /// Whether Ctrl-C was pressed.
    pub(crate) fn is_pressed(&self) -> bool {
        *self.pressed.borrow()
    }

    /// Resolves when Ctrl-C is pressed, or was.
    pub(crate) async fn pressed(&self) {
        let mut pressed = self.pressed.clone();
        if pressed.wait_for(|pressed| *pressed).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Runs a step with a line of progress, unless Ctrl-C was pressed before; it has a moment to come to its end once it is.
    pub(crate) async fn step<T>(
        &self,
        progress: &Progress,
        (name, title): (&'static str, &str),
        work: impl Future<Output = Result<(T, Outcome), CliError>>,
    ) -> Result<T, CliError> {
        if self.is_pressed() {
            return Err(CliError::Interrupted);
        }
        let line = progress.start(name, title);
        match self.in_order(progress, work).await {
            Ok(Ok((value, outcome))) => {
                line.done(&outcome);
                Ok(value)
            }
            Ok(Err(error)) => {
                line.failed("failed");
                Err(error)
            }
            Err(cut) => {
                line.cut();
                Err(cut)
            }
        }
    }

    /// Runs something that has a moment to come to its end once Ctrl-C is pressed.
    pub(crate) async fn in_order<T>(&self, progress: &Progress, work: impl Future<Output = T>) -> Result<T, CliError> {
        let mut work = std::pin::pin!(work);
        tokio::select! {
            biased;
            done = &mut work => return Ok(done),
            () = self.pressed() => progress.say("stopping: what runs is ended in order; Ctrl-C again ends it at once"),
        }
        tokio::time::timeout(GRACE, work)
            .await
            .map_err(|_| CliError::Interrupted)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        HELD.store(false, Ordering::SeqCst);
    }
}

/// Hears every press.
#[cfg(unix)]
async fn listen() {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut interrupt), Ok(mut terminate)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        return;
    };
    loop {
        tokio::select! {
            Some(()) = interrupt.recv() => press(exit::INTERRUPTED),
            Some(()) = terminate.recv() => press(exit::TERMINATED),
            else => return,
        }
    }
}

#[cfg(not(unix))]
async fn listen() {
    while tokio::signal::ctrl_c().await.is_ok() {
        press(exit::INTERRUPTED);
    }
}

#[expect(
    clippy::exit,
    reason = "whoever presses twice waits for nothing, not even for what holds the main thread"
)]
fn press(code: u8) {
    let is_first = PRESSED.get().is_some_and(|pressed| !*pressed.borrow());
    if is_first {
        CODE.store(code, Ordering::SeqCst);
        if let Some(pressed) = PRESSED.get() {
            pressed.send_replace(true);
        }
    }
    if !is_first || !HELD.load(Ordering::SeqCst) {
        output::error(CliError::Interrupted);
        std::process::exit(i32::from(self::code()));
    }
}
