//! Watches the statistics of the HAProxy that runs: `cargo run -p loko-haproxy --example statistics [port]`.

#![expect(clippy::print_stdout, reason = "an example prints")]

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

use loko_haproxy::configuration::STATISTICS_PORT;
use loko_haproxy::stats::{self, Statistics};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let port = std::env::args()
        .nth(1)
        .map_or(Ok(STATISTICS_PORT), |port| port.parse())?;
    loop {
        let statistics = Statistics::of(&stats::parse(&csv(port)?)?);
        println!(
            "{:<40} {:>8} {:>8} {:>12} {:>12}  nodes up",
            "route", "now", "total", "bytes in", "bytes out"
        );
        for (id, backend) in &statistics.backends {
            let traffic = backend.traffic;
            println!(
                "{:<40} {:>8} {:>8} {:>12} {:>12}  {} of {}",
                id.to_string(),
                traffic.now,
                traffic.total,
                traffic.bytes_in,
                traffic.bytes_out,
                backend.up(),
                backend.nodes.len()
            );
        }
        std::thread::sleep(Duration::from_secs(1));
    }
}

fn csv(port: u16) -> std::io::Result<String> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.write_all(b"GET /;csv HTTP/1.0\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer
        .split_once("\r\n\r\n")
        .map(|(_, body)| body.to_owned())
        .unwrap_or_default())
}
