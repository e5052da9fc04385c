//! Clients that notice nothing while everything around them changes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use loko_haproxy::{Change, Done};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::bed::{Bed, EchoServer, send_and_receive};

const RECONNECTING: u64 = 200;
const HOLDING: u64 = 50;

/// A hundred changes are a matter of minutes where two cores do everything; `LOKO_TEST_CHANGES=100` asks for them.
fn changes() -> u16 {
    std::env::var("LOKO_TEST_CHANGES")
        .ok()
        .and_then(|number| number.parse().ok())
        .unwrap_or(20)
}

#[derive(Default)]
struct Counts {
    stop: AtomicBool,
    connections: AtomicU64,
    failed: AtomicU64,
    broken: AtomicU64,
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_notice_nothing_of_changes() {
    let Some(bed) = Bed::new("traffic", 7).await else {
        return;
    };
    let server = EchoServer::start("127.0.61.7:0").await;
    let address = "127.0.60.7:18040";
    let stays = (18040, server.port());
    bed.put(&bed.routes("dev", "127.0.60.7", &[stays])).await.unwrap();
    let started = bed.started_at().await;

    let counts = Arc::new(Counts::default());
    let mut clients: Vec<_> = (0..RECONNECTING)
        .map(|_| tokio::spawn(reconnect(address, counts.clone())))
        .collect();
    clients.extend((0..HOLDING).map(|number| tokio::spawn(hold(address, number, counts.clone()))));

    let before = Instant::now();
    let changes = changes();
    for change in 0..changes {
        // Twenty other ports come and go; every tenth change another environment comes or goes on the same address.
        let report = if change % 10 == 9 {
            let mut shop = bed.routes("shop", "127.0.60.7", &[]);
            shop.domain = "shop.example".parse().unwrap();
            let remove = Change::Remove("shop".parse().unwrap());
            bed.edge
                .apply(&if change % 20 == 9 {
                    Change::Put(Box::new(shop))
                } else {
                    remove
                })
                .await
        } else {
            let mut ports = vec![stays];
            ports.extend((0..=change % 20).map(|other| (18041 + other, server.port())));
            bed.put(&bed.routes("dev", "127.0.60.7", &ports)).await
        };
        assert_eq!(report.unwrap().done, Done::Reloaded, "change {change}");
    }
    let took = before.elapsed();
    let status = bed.edge.status().await.unwrap();
    counts.stop.store(true, Ordering::Relaxed);
    for client in clients {
        client.await.unwrap();
    }
    println!(
        "measured: {changes} changes in {took:?}; {} connections, {} failed; {HOLDING} held, {} broken; {} old workers at the end",
        counts.connections.load(Ordering::Relaxed),
        counts.failed.load(Ordering::Relaxed),
        counts.broken.load(Ordering::Relaxed),
        status.old_workers,
    );
    assert_eq!(counts.failed.load(Ordering::Relaxed), 0);
    assert_eq!(counts.broken.load(Ordering::Relaxed), 0);
    assert!(status.old_workers >= 1, "the one that holds");
    assert_eq!(bed.started_at().await, started);

    // Once nobody holds a connection the workers of before are gone.
    let mut old = status.old_workers;
    for _ in 0..100 {
        old = bed.edge.status().await.unwrap().old_workers;
        if old == 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(old, 0);
    bed.clean().await;
}

async fn reconnect(address: &'static str, counts: Arc<Counts>) {
    while !counts.stop.load(Ordering::Relaxed) {
        match send_and_receive(address, b"ping").await {
            Ok(answer) if answer == b"ping" => {}
            other => {
                println!("failed: {other:?}");
                counts.failed.fetch_add(1, Ordering::Relaxed);
            }
        }
        counts.connections.fetch_add(1, Ordering::Relaxed);
    }
}

async fn hold(address: &'static str, number: u64, counts: Arc<Counts>) {
    if let Err(error) = talk(address, number, &counts).await {
        println!("broken: {error}");
        counts.broken.fetch_add(1, Ordering::Relaxed);
    }
}

async fn talk(address: &str, number: u64, counts: &Counts) -> std::io::Result<()> {
    let mut stream = TcpStream::connect(address).await?;
    let mut turn = number;
    while !counts.stop.load(Ordering::Relaxed) {
        stream.write_all(&turn.to_be_bytes()).await?;
        let mut answer = [0; 8];
        stream.read_exact(&mut answer).await?;
        if answer != turn.to_be_bytes() {
            return Err(std::io::Error::other("another's answer"));
        }
        turn += HOLDING;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}
