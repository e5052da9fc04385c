//! Ctrl-C: once, and what runs is ended in order; twice, and it ends at once.
//!
//! ```text
//! hold ──→ Held ── pressed once ──→ no step begins any more, those that run have a moment
//!            │           └─ pressed twice ──→ the program ends
//!            └ dropped: the next press ends the program
//! ```
//!
//! Where nothing was ever held, a press does what the system makes of it.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::watch;

use crate::error::CliError;
use crate::progress::Progress;
use crate::{exit, output};

/// How long a step that runs has to come to its end by itself.
pub(crate) const GRACE: Duration = Duration::from_secs(5);

/// Whether somebody holds it. Signals are of the whole process, and so are these.
static HELD: AtomicBool = AtomicBool::new(false);
static PRESSED: OnceLock<watch::Sender<bool>> = OnceLock::new();

/// Makes the first Ctrl-C a wish rather than the end, until it is dropped.
#[derive(Debug)]
pub(crate) struct Held {
    pressed: watch::Receiver<bool>,
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
#[expect(
    clippy::exit,
    reason = "whoever presses twice waits for nothing, not even for what holds the main thread"
)]
async fn listen() {
    while tokio::signal::ctrl_c().await.is_ok() {
        let is_first = PRESSED.get().is_some_and(|pressed| !pressed.send_replace(true));
        if !is_first || !HELD.load(Ordering::SeqCst) {
            output::error(CliError::Interrupted);
            std::process::exit(i32::from(exit::OTHER));
        }
    }
}
