//! Findings for people.

use std::fmt::Write as _;

use super::{Finding, Level};

/// `1.5 GiB`, `512 MiB`.
pub(crate) fn bytes(count: u64) -> String {
    const MIB: u64 = 1 << 20;
    const GIB: u64 = 1 << 30;
    if count >= GIB {
        format!("{}.{} GiB", count / GIB, count % GIB * 10 / GIB)
    } else {
        format!("{} MiB", count / MIB)
    }
}

/// One line for what is well; for the rest also why it matters and what mends it.
pub(crate) fn text(findings: &[Finding]) -> String {
    let width = findings
        .iter()
        .map(|finding| finding.check.len())
        .max()
        .unwrap_or_default();
    let mut text = String::new();
    for finding in findings {
        let mark = match finding.level {
            Level::Ok => '✓',
            Level::Warning => '!',
            Level::Failure => '✗',
        };
        let _ = writeln!(text, "{mark} {:width$}  {}", finding.check, finding.found);
        for (word, what) in [("why", &finding.why), ("mend", &finding.remedy)] {
            if !what.is_empty() {
                let _ = writeln!(text, "  {:width$}  {word:<4}  {what}", "");
            }
        }
    }
    let count = |level| findings.iter().filter(|finding| finding.level == level).count();
    let _ = match (count(Level::Failure), count(Level::Warning)) {
        (0, 0) => write!(text, "\nall is well"),
        (0, warnings) => write!(text, "\nan environment can come up; warnings: {warnings}"),
        (failures, warnings) => write!(
            text,
            "\nan environment cannot come up; failures: {failures}, warnings: {warnings}"
        ),
    };
    text
}
