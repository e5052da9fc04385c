//! `loko`: arguments → calls → output.
//!
//! ```text
//! args ─→ commands/<command> ─→ find (loko.yaml) ─→ context (engine, address) ─→ the other crates ─→ output
//!                                     steps run them as a graph, progress shows each
//! ```

mod args;
mod bundle;
mod certs;
mod commands;
mod context;
mod doctor;
mod error;
mod exit;
mod find;
mod host;
mod interrupt;
mod output;
mod plan;
mod preflight;
mod progress;
mod secrets;
mod selftest;
mod state;
mod status;
mod steps;
mod trust;
mod up;

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    let cli = args::Cli::parse();
    let color = context::color(cli.global.color);
    output::set_up(cli.global.verbose, color);
    match commands::run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let code = error.exit_code();
            output::error(error);
            ExitCode::from(code)
        }
    }
}
