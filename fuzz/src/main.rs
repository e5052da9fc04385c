//! Looks for inputs that break a target: `cargo run -p fuzz -- <target> [seconds]`.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a tool of the terminal")]

use std::panic::catch_unwind;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use fuzz::TARGETS;
use fuzz::mutate::{Random, mutate};

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let name = arguments.next().unwrap_or_default();
    let seconds = arguments.next().and_then(|text| text.parse().ok()).unwrap_or(30);
    let Some(target) = TARGETS.iter().find(|target| target.name == name) else {
        let names: Vec<_> = TARGETS.iter().map(|target| target.name).collect();
        eprintln!("usage: fuzz <target> [seconds]; targets: {}", names.join(", "));
        return ExitCode::from(2);
    };
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds").join(target.name);
    let seeds = match read(&folder) {
        Ok(seeds) if !seeds.is_empty() => seeds,
        Ok(_) => {
            eprintln!("{} is empty", folder.display());
            return ExitCode::FAILURE;
        }
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
    };
    let started = Instant::now();
    let first = u64::from(std::process::id());
    let mut random = Random::new(first);
    let mut tried = 0_u64;
    let mut broken = 0_u32;
    while started.elapsed() < Duration::from_secs(seconds) {
        let seed = &seeds[random.below(seeds.len())];
        let other = &seeds[random.below(seeds.len())];
        let input = mutate(seed, other, &mut random);
        tried += 1;
        if catch_unwind(|| (target.check)(&input)).is_err() {
            broken += 1;
            let path = folder.join(format!("broken-{first}-{tried}"));
            match fs_err::write(&path, &input) {
                Ok(()) => println!("{}", path.display()),
                Err(error) => eprintln!("{error}"),
            }
        }
    }
    println!("{name}: {tried} inputs, {broken} broken");
    if broken == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn read(folder: &Path) -> std::io::Result<Vec<Vec<u8>>> {
    let mut paths: Vec<_> = fs_err::read_dir(folder)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()?;
    paths.sort();
    paths.iter().map(fs_err::read).collect()
}
