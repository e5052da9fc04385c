//! How long an API server is waited for that is busy, or does not answer.

use std::time::{Duration, Instant};

use super::KubeApi;

/// Longer than the minute after which the API server itself gives up on a request (`kube-apiserver --request-timeout`).
pub(super) const PATIENCE: Duration = Duration::from_secs(65);
/// Pause before a busy API server is asked again.
pub(super) const BUSY_PAUSE: Duration = Duration::from_millis(500);

impl KubeApi {
    /// The same, which waits at most that long for one answer, and as long for a server that says it is busy; 65 s unless said.
    #[must_use]
    pub fn with_patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Asks, and again while the server says that it is busy. For requests that do the same when they are sent twice.
    pub(super) async fn patiently<T, F>(&self, ask: impl Fn() -> F) -> Result<T, kube::Error>
    where
        F: Future<Output = Result<T, kube::Error>>,
    {
        let since = Instant::now();
        loop {
            match self.answered(Box::pin(ask())).await {
                Err(error) if is_busy(&error) && since.elapsed() < self.patience => {
                    tracing::debug!(%error, "asked again");
                    tokio::time::sleep(BUSY_PAUSE).await;
                }
                answer => return answer,
            }
        }
    }

    /// The answer to a request, or that there was none in time.
    pub(super) async fn answered<T>(
        &self,
        asked: impl Future<Output = Result<T, kube::Error>>,
    ) -> Result<T, kube::Error> {
        let answer = tokio::time::timeout(self.patience, asked).await;
        let seconds = self.patience.as_secs();
        answer.unwrap_or_else(|_| Err(kube::Error::Service(format!("no answer within {seconds} s").into())))
    }
}

/// Whether the server says that another time may be better: too many requests, or what it needs itself does not answer.
pub(super) fn is_busy(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if matches!(status.code, 429 | 503 | 504))
}
