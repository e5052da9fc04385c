//! The command line without an engine: what `loko` says, refuses and leaves alone, in a scrubbed environment.

mod catalogue;
mod clock;
mod config;
mod environments;
mod refused;
mod registry;
mod run;
mod upgrade;
mod words;
mod workloads;
