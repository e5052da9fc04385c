//! What other crates see of loko-config, over files.
#![expect(
    clippy::unwrap_used,
    clippy::format_push_string,
    reason = "a test fails by panicking"
)]

mod edits;
mod fixtures;
mod generated;
mod library;
mod renovate;
