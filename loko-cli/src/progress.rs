//! One line for every step: moving where there is a terminal, plain where there is none, JSON for machines.
//! All of it is talk, and goes to standard error.

use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;

/// How progress is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    /// Nothing.
    Quiet,
    /// A line when a step ends.
    Plain,
    /// A line that moves while a step runs.
    Moving,
    /// One JSON object a line.
    Json,
}

/// Where progress goes; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Progress {
    style: Style,
    bars: MultiProgress,
    color: bool,
}

/// The line of one step.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    progress: Progress,
    name: &'static str,
    bar: Option<ProgressBar>,
    started: Instant,
}

/// How a step ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Outcome {
    /// All was as wanted.
    Unchanged,
    /// What was done.
    Changed(String),
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Event<'a> {
    step: &'a str,
    #[serde(rename = "event")]
    what: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seconds: Option<f64>,
}

impl Progress {
    pub(crate) fn new(style: Style, color: bool) -> Self {
        let target = if style == Style::Moving {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        };
        Self {
            style,
            bars: MultiProgress::with_draw_target(target),
            color,
        }
    }

    /// The line of a step that starts now.
    pub(crate) fn start(&self, name: &'static str, title: &str) -> Line {
        let bar = (self.style == Style::Moving).then(|| {
            let template = "{spinner} {prefix:<14} {wide_msg} {elapsed:>4}";
            let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner());
            let bar = self
                .bars
                .add(ProgressBar::new_spinner().with_style(style).with_prefix(name));
            bar.set_message(title.to_owned());
            bar.enable_steady_tick(Duration::from_millis(100));
            bar
        });
        let line = Line {
            progress: self.clone(),
            name,
            bar,
            started: Instant::now(),
        };
        line.event("started", Some(title), None);
        line
    }

    /// A sentence for a person, whatever runs.
    pub(crate) fn say(&self, text: &str) {
        match self.style {
            Style::Quiet => {}
            Style::Json => self.print(&json("loko", "said", Some(text), None)),
            Style::Plain | Style::Moving => self.print(text),
        }
    }

    fn print(&self, text: &str) {
        self.bars.suspend(|| crate::output::talk(text));
    }

    fn mark(&self, mark: &str, code: &str) -> String {
        if self.color {
            format!("\u{1b}[{code}m{mark}\u{1b}[0m")
        } else {
            mark.to_owned()
        }
    }
}

impl Line {
    /// What the step is doing or waiting for now.
    pub(crate) fn tell(&self, text: &str) {
        if let Some(bar) = &self.bar {
            bar.set_message(text.to_owned());
        }
        self.event("told", Some(text), None);
    }

    /// The step ended well.
    pub(crate) fn done(&self, outcome: &Outcome) {
        let text = match outcome {
            Outcome::Unchanged => "nothing to do",
            Outcome::Changed(text) => text.as_str(),
        };
        let mark = self.progress.mark("✓", "32");
        self.end("done", &mark, text, outcome == &Outcome::Unchanged);
    }

    /// The step failed; the reason is shown at the end, once.
    pub(crate) fn failed(&self, why: &str) {
        let mark = self.progress.mark("✗", "31");
        self.end("failed", &mark, why, false);
    }

    /// The step was ended from outside; why is said once, for all of them.
    pub(crate) fn cut(&self) {
        self.event("stopped", None, Some(self.started.elapsed().as_secs_f64()));
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }

    fn end(&self, event: &str, mark: &str, text: &str, unchanged: bool) {
        let seconds = self.started.elapsed().as_secs_f64();
        self.event(event, Some(text), Some(seconds));
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        // A run that changes nothing says one sentence, not a page of "nothing to do".
        if matches!(self.progress.style, Style::Plain | Style::Moving) && !unchanged {
            self.progress
                .print(&format!("{mark} {:<14} {text} ({seconds:.1} s)", self.name));
        }
    }

    fn event(&self, event: &str, message: Option<&str>, seconds: Option<f64>) {
        if self.progress.style == Style::Json {
            self.progress.print(&json(self.name, event, message, seconds));
        }
    }
}

fn json(step: &str, event: &str, message: Option<&str>, seconds: Option<f64>) -> String {
    serde_json::to_string(&Event {
        step,
        what: event,
        message,
        seconds,
    })
    .unwrap_or_default()
}
