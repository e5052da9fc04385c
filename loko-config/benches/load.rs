//! Time to load and check files of growing size: `cargo bench -p loko-config`.
//!
//! Prints a table; the fastest and the median of several runs each. The aim: 1,000 workloads in under 50 ms, and growth no steeper than
//! the file's.
#![expect(clippy::print_stdout, reason = "a benchmark talks to its reader")]

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use loko_config::{LoadOptions, load};

const RUNS: usize = 9;

fn main() {
    println!("workloads      bytes     fastest      median   per workload");
    for count in [100, 1_000, 10_000] {
        let text = file(count);
        let mut times: Vec<Duration> = (0..RUNS).map(|_| time(&text, count)).collect();
        times.sort();
        let median = times[RUNS / 2];
        let fastest = times[0];
        let each = fastest / u32::try_from(count).unwrap_or(u32::MAX);
        println!(
            "{count:>9} {:>10} {:>8.1} ms {:>8.1} ms {:>11.1} µs",
            text.len(),
            fastest.as_secs_f64() * 1e3,
            median.as_secs_f64() * 1e3,
            each.as_secs_f64() * 1e6
        );
    }
}

fn time(text: &str, count: usize) -> Duration {
    let started = Instant::now();
    let loaded = load(text, &LoadOptions::default());
    let time = started.elapsed();
    let loaded = loaded.expect("the file is right");
    assert_eq!(loaded.environment.workloads.list.len(), count);
    time
}

/// A file as people write them: images with environment, hosts, probes, and a chain of dependencies.
fn file(count: usize) -> String {
    let mut text = String::from("name: bench\nnetwork: {domain: bench.test}\nworkloads:\n  user:\n");
    for number in 0..count {
        let _ = write!(
            text,
            "    # workload {number}\n    - name: w{number}\n      image: ghcr.io/me/w{number}:1.2.{number}\n      \
             http: {{port: 8080, hosts: [\"w{number}.${{LOKO_DOMAIN}}\"]}}\n      \
             env: {{HOST: \"w{number}.${{LOKO_DOMAIN}}\", IP: \"${{LOKO_IP}}\", PORT: 8080}}\n      \
             resources: {{limits: {{memory: 64Mi}}}}\n      \
             readinessProbe: {{httpGet: {{path: /, port: 8080}}}}\n"
        );
        if number > 0 {
            let _ = writeln!(text, "      depends-on: [w{}]", number - 1);
        }
    }
    text
}
