//! What other crates see of loko-config, over files.

mod fixtures;
mod generated;
