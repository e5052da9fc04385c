//! Prints what is wrong with a file: `cargo run --example explain -- loko.yaml`.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "an example talks to its reader"
)]

use std::process::ExitCode;

use loko_config::{LoadOptions, load_bytes, problem};

fn main() -> ExitCode {
    let file_name = std::env::args().nth(1).unwrap_or_else(|| "loko.yaml".to_owned());
    let bytes = match fs_err::read(&file_name) {
        Ok(bytes) => bytes,
        Err(error) => {
            eprintln!("{file_name}: {error}");
            return ExitCode::FAILURE;
        }
    };
    let options = LoadOptions {
        file_name,
        ..LoadOptions::default()
    };
    let (text, code) = match load_bytes(&bytes, &options) {
        Ok(loaded) => (
            problem::render_text(&options.file_name, &loaded.warnings),
            ExitCode::SUCCESS,
        ),
        Err(problems) => (problems.to_text(), ExitCode::from(2)),
    };
    print!("{text}");
    code
}
