//! What other crates see of loko-config, over files.
#![expect(
    clippy::unwrap_used,
    clippy::format_push_string,
    clippy::format_collect,
    reason = "a test fails by panicking, and its texts are small"
)]

mod edits;
mod fixtures;
mod generated;
mod library;
mod renovate;
mod schema;
mod secrets;
