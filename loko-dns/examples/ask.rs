//! Asks a DNS server for a name: `cargo run -p loko-dns --example ask -- 127.0.0.1:5453 shop.dev.me [aaaa|https|txt|soa]`.
#![expect(clippy::print_stdout, reason = "an example that prints")]

use std::net::SocketAddr;

use loko_dns::probe::{Kind, Limits, ask};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let usage = "usage: ask ADDRESS:PORT NAME [a|aaaa|https|txt|soa]";
    let server: SocketAddr = arguments.next().ok_or(usage)?.parse()?;
    let name = arguments.next().ok_or(usage)?;
    let kind = match arguments.next().unwrap_or_default().to_ascii_lowercase().as_str() {
        "" | "a" => Kind::A,
        "aaaa" => Kind::Aaaa,
        "https" => Kind::Https,
        "txt" => Kind::Txt,
        "soa" => Kind::Soa,
        _ => return Err(usage.into()),
    };
    let answer = ask(server, &name, kind, Limits::default()).await?;
    println!(
        "{} {} records{}",
        answer.code,
        answer.records,
        if answer.tcp { ", over TCP" } else { "" }
    );
    for address in &answer.addresses {
        println!("{address}");
    }
    Ok(())
}
