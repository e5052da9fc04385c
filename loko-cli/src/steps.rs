//! Steps that run as soon as what they need is there. A step is a shared future: it starts when it is first waited for,
//! its value goes to every step that needs it, and the first failure ends the run.
//!
//! ```text
//! let network = runner.step("network", "…", ready(()), |(), line| …);
//! let nodes = runner.step("nodes", "…", needs!(network, image), |(network, image), line| …);
//! runner.run(vec![network.done(), nodes.done()]).await?;
//! ```

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared, join_all};
use serde::Serialize;
use tokio::sync::Notify;

use crate::error::CliError;
use crate::interrupt::{self, Held};
use crate::progress::{Line, Outcome, Progress};

/// Something else failed, or the run was cancelled; the reason is the runner's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stopped;

/// A step's value, for any number of others.
pub(crate) type StepFuture<'a, T> = Shared<BoxFuture<'a, Result<T, Stopped>>>;

/// What one step did.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct StepReport {
    /// The step.
    pub(crate) step: &'static str,
    /// How it ended.
    pub(crate) outcome: Outcome,
    /// How long it took, in seconds, without what it waited for.
    pub(crate) seconds: f64,
}

/// Runs steps and keeps what they did.
#[derive(Debug)]
pub(crate) struct Runner {
    progress: Progress,
    held: Held,
    reports: Mutex<Vec<StepReport>>,
    failure: Mutex<Option<(&'static str, CliError)>>,
    failed: Notify,
}

impl Runner {
    pub(crate) fn new(progress: Progress) -> Self {
        Self {
            progress,
            held: interrupt::hold(),
            reports: Mutex::default(),
            failure: Mutex::default(),
            failed: Notify::new(),
        }
    }

    /// A step that starts once `needs` has resolved. It gives a value and how it ended.
    pub(crate) fn step<'a, N, T, W, F>(
        &'a self,
        name: &'static str,
        title: &'static str,
        needs: N,
        work: W,
    ) -> StepFuture<'a, T>
    where
        N: IntoFuture + Send + 'a,
        N::IntoFuture: Send,
        N::Output: IntoNeeds + Send,
        <N::Output as IntoNeeds>::Value: Send,
        T: Clone + Send + Sync + 'a,
        W: FnOnce(<N::Output as IntoNeeds>::Value, Line) -> F + Send + 'a,
        F: Future<Output = Result<(T, Outcome), CliError>> + Send + 'a,
    {
        let run = async move {
            let needs = needs.await.into_needs()?;
            if self.held.is_pressed() {
                return Err(Stopped);
            }
            let started = Instant::now();
            let line = self.progress.start(name, title);
            let mut uncut = Uncut(Some(line.clone()));
            let ended = work(needs, line.clone()).await;
            uncut.0 = None;
            match ended {
                Ok((value, outcome)) => {
                    line.done(&outcome);
                    let report = StepReport {
                        step: name,
                        outcome,
                        seconds: started.elapsed().as_secs_f64(),
                    };
                    self.reports.lock().unwrap_or_else(PoisonError::into_inner).push(report);
                    Ok(value)
                }
                Err(error) => {
                    line.failed("failed");
                    self.failure
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .get_or_insert((name, error));
                    self.failed.notify_one();
                    Err(Stopped)
                }
            }
        };
        run.boxed().shared()
    }

    /// Runs all steps to their end, or to the first failure, which ends the others where they are. Returns what was done.
    /// Once Ctrl-C is pressed no step begins any more, and those that run have a moment to end.
    pub(crate) async fn run(&self, steps: Vec<BoxFuture<'_, ()>>) -> Result<Vec<StepReport>, CliError> {
        let work = async {
            tokio::select! {
                biased;
                () = self.failed.notified() => {}
                _ = join_all(steps) => {}
            }
        };
        self.held.in_order(&self.progress, work).await?;
        if self.held.is_pressed() {
            return Err(CliError::Interrupted);
        }
        if let Some((step, error)) = self.failure.lock().unwrap_or_else(PoisonError::into_inner).take() {
            tracing::debug!(step, "failed");
            return Err(error);
        }
        Ok(self
            .reports
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .drain(..)
            .collect())
    }
}

/// The line of a step that runs; it says so where the step is dropped before its end.
struct Uncut(Option<Line>);

impl Drop for Uncut {
    fn drop(&mut self) {
        if let Some(line) = self.0.take() {
            line.cut();
        }
    }
}

/// What a step waits for: a result, whose failure stops it, or a plain value.
pub(crate) trait IntoNeeds {
    /// The value.
    type Value;
    /// The value, or why the step does not start.
    fn into_needs(self) -> Result<Self::Value, Stopped>;
}

impl<T> IntoNeeds for Result<T, Stopped> {
    type Value = T;
    fn into_needs(self) -> Self {
        self
    }
}

/// A step as one of those to run, its value aside.
pub(crate) fn to_run<'a, T: Clone + Send + Sync + 'a>(step: &StepFuture<'a, T>) -> BoxFuture<'a, ()> {
    step.clone().map(drop).boxed()
}

/// What a first step needs.
pub(crate) async fn nothing() -> Result<(), Stopped> {
    Ok(())
}

/// Waits for all of some steps and gives their values as a tuple.
macro_rules! needs {
    ($($step:expr),+ $(,)?) => {{
        $(let _ = &$step;)+
        let futures = ($($step.clone(),)+);
        async move { crate::steps::join(futures).await }
    }};
}
pub(crate) use needs;

/// The tuples that [`needs!`] takes.
pub(crate) trait Join {
    /// Their values.
    type Values;
    /// Waits for all.
    fn join(self) -> impl Future<Output = Result<Self::Values, Stopped>> + Send;
}

pub(crate) async fn join<J: Join>(steps: J) -> Result<J::Values, Stopped> {
    steps.join().await
}

macro_rules! join_tuple {
    ($($name:ident $value:ident),+) => {
        impl<$($name: Future<Output = Result<$value, Stopped>> + Send, $value: Send),+> Join for ($($name,)+) {
            type Values = ($($value,)+);
            #[expect(non_snake_case, reason = "the macro names each future by its type parameter")]
            async fn join(self) -> Result<Self::Values, Stopped> {
                let ($($name,)+) = self;
                tokio::try_join!($($name),+)
            }
        }
    };
}
join_tuple!(A VA);
join_tuple!(A VA, B VB);
join_tuple!(A VA, B VB, C VC);
join_tuple!(A VA, B VB, C VC, D VD);
join_tuple!(A VA, B VB, C VC, D VD, E VE);
join_tuple!(A VA, B VB, C VC, D VD, E VE, F VF);
join_tuple!(A VA, B VB, C VC, D VD, E VE, F VF, G VG);
join_tuple!(A VA, B VB, C VC, D VD, E VE, F VF, G VG, H VH);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::Style;

    fn runner() -> Runner {
        Runner::new(Progress::new(Style::Quiet, false))
    }

    #[tokio::test]
    async fn a_step_gets_the_values_of_those_it_needs_and_runs_once() {
        let runner = runner();
        let runs = std::sync::atomic::AtomicU32::new(0);
        let runs = &runs;
        let one = runner.step("one", "", nothing(), move |(), _| async move {
            runs.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            Ok((1, Outcome::Unchanged))
        });
        let two = runner.step("two", "", needs!(one), |(one,), _| async move {
            Ok((one + 1, Outcome::Unchanged))
        });
        let sum = runner.step("sum", "", needs!(one, two), |(one, two), _| async move {
            Ok((one + two, Outcome::Changed("added".into())))
        });
        let reports = runner
            .run(vec![to_run(&one), to_run(&two), to_run(&sum)])
            .await
            .unwrap();
        assert_eq!(sum.await, Ok(3));
        assert_eq!(runs.load(std::sync::atomic::Ordering::Relaxed), 1);
        assert_eq!(
            reports.iter().map(|report| report.step).collect::<Vec<_>>(),
            ["one", "two", "sum"]
        );
    }

    #[tokio::test]
    async fn the_first_failure_is_the_one_reported_and_ends_the_others() {
        let runner = runner();
        let never = runner.step("never", "", nothing(), |(), _| async {
            std::future::pending::<()>().await;
            Ok(((), Outcome::Unchanged))
        });
        let fails = runner.step::<_, (), _, _>("fails", "", nothing(), |(), _| async { Err(CliError::Interrupted) });
        let after = runner.step("after", "", needs!(fails), |_, _| async {
            Ok(((), Outcome::Unchanged))
        });
        let error = runner
            .run(vec![to_run(&never), to_run(&fails), to_run(&after)])
            .await
            .unwrap_err();
        assert!(matches!(error, CliError::Interrupted));
    }
}
