//! Sets a value in a file and prints the changed lines, without writing: `cargo run --example set -- loko.yaml
//! network.domain shop.test`.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "an example talks to its reader"
)]

use std::process::ExitCode;

use loko_config::LoadOptions;
use loko_config::edit::{Edit, edit};

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let [file, path, value] = arguments.as_slice() else {
        eprintln!("usage: set FILE PATH VALUE");
        return ExitCode::from(2);
    };
    let text = match fs_err::read_to_string(file) {
        Ok(text) => text,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
    };
    let set = Edit::Set {
        path: path.clone(),
        value: value.clone(),
    };
    match edit(&text, &set, &LoadOptions::default()) {
        Ok(edited) => {
            let old: Vec<_> = text.lines().collect();
            for line in edited.text.lines().filter(|line| !old.contains(line)) {
                println!("+ {line}");
            }
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(2)
        }
    }
}
