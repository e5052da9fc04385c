//! Datagrams through the relay.

use std::collections::BTreeSet;
use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::{Duration, Instant};

use loko_haproxy::tunnel::State;
use loko_haproxy::{Done, HaproxyError, Relay, Routes, UdpRoute};
use tokio::net::UdpSocket;
use tokio::sync::Semaphore;

use crate::bed::{Bed, WebServer};

const DATAGRAMS: u32 = 10_000;
const SOURCES: u32 = 20;
const IN_FLIGHT: usize = 50;

/// A relay of its own, or `None` where the engine has no Traefik; says so.
async fn relay(bed: &Bed) -> Option<Relay> {
    let image = std::env::var("LOKO_TEST_TRAEFIK").unwrap_or_else(|_| "traefik:v3.7.13".to_owned());
    if bed.engine.image(&image).await.ok().flatten().is_none() {
        println!("skipped: no image {image}");
        return None;
    }
    Some(Relay::new(&bed.edge, image))
}

fn with_udp(routes: &Routes, ports: &[(u16, u16)]) -> Routes {
    let port = |number| NonZeroU16::new(number).unwrap();
    let mut routes = routes.clone();
    routes.udp = ports
        .iter()
        .map(|(listen, node_port)| UdpRoute {
            workload: "echo".parse().unwrap(),
            listen: port(*listen),
            node_port: port(*node_port),
        })
        .collect();
    routes
}

/// Answers each datagram with a letter in front of it.
async fn echo(address: &str, letter: u8) -> u16 {
    let socket = UdpSocket::bind(address).await.unwrap();
    let port = socket.local_addr().unwrap().port();
    tokio::spawn(async move {
        let mut buffer = vec![0; 2048];
        while let Ok((length, source)) = socket.recv_from(&mut buffer[1..]).await {
            buffer[0] = letter;
            let _ = socket.send_to(&buffer[..=length], source).await;
        }
    });
    port
}

async fn ask(address: &str, text: &[u8]) -> Option<Vec<u8>> {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.connect(address).await.unwrap();
    let mut buffer = vec![0; 2048];
    for _ in 0..20 {
        socket.send(text).await.ok()?;
        let answer = tokio::time::timeout(Duration::from_millis(250), socket.recv(&mut buffer)).await;
        if let Ok(Ok(length)) = answer {
            return Some(buffer[..length].to_vec());
        }
    }
    None
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_comes_with_the_first_port_and_goes_with_the_last() {
    let Some(bed) = Bed::new("relay", 8).await else { return };
    let Some(relay) = relay(&bed).await else { return };
    let server = echo("127.0.61.8:0", b'a').await;
    let _up = WebServer::start("127.0.61.8", "a").await;
    let base = bed.routes("haproxytest-relay", "127.0.60.8", &[]);
    relay.remove(&base.environment).await.unwrap();

    assert_eq!(relay.apply(&base).await.unwrap(), Done::Nothing);
    let one = with_udp(&base, &[(18050, server)]);
    bed.put(&one).await.unwrap();
    assert_eq!(relay.apply(&one).await.unwrap(), Done::Started);
    assert_eq!(ask("127.0.60.8:18050", b"x").await.unwrap(), b"ax");
    let before = Instant::now();
    assert_eq!(relay.apply(&one).await.unwrap(), Done::Nothing);
    println!("measured: a second apply of the relay took {:?}", before.elapsed());
    let status = bed.edge.status().await.unwrap();
    let udp = status.tunnels(&one.environment).pop().unwrap();
    assert_eq!((udp.address.port(), udp.state), (18050, State::Up));

    let two = with_udp(&base, &[(18050, server), (18051, server)]);
    bed.put(&two).await.unwrap();
    assert_eq!(relay.apply(&two).await.unwrap(), Done::Recreated);
    assert_eq!(ask("127.0.60.8:18051", b"y").await.unwrap(), b"ay");

    bed.put(&base).await.unwrap();
    assert_eq!(relay.apply(&base).await.unwrap(), Done::Removed);

    let busy = UdpSocket::bind("127.0.60.8:18052").await.unwrap();
    let error = relay.apply(&with_udp(&base, &[(18052, server)])).await.unwrap_err();
    assert!(matches!(error, HaproxyError::PortsInUse { .. }), "{error}");
    drop(busy);
    assert_eq!(relay.remove(&base.environment).await.unwrap(), Done::Nothing);
    bed.clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_ports_are_published_the_relay_asks_haproxy_by_name() {
    let Some(bed) = Bed::new("relaypub", 21).await else {
        return;
    };
    let Some(_) = relay(&bed).await else { return };
    if std::process::Command::new("docker").arg("version").output().is_err() {
        println!("skipped: no `docker` command");
        return;
    }
    let bed = bed.published_apart().await;
    let relay = relay(&bed).await.unwrap();
    let gateway = bed.gateway().await;
    let port = echo(&format!("{gateway}:0"), b'a').await;
    let _up = WebServer::start(&gateway.to_string(), "a").await;
    let mut base = bed.routes("haproxytest-relaypub", "127.0.60.22", &[]);
    base.nodes[0].address = gateway;
    let one = with_udp(&base, &[(18055, port)]);
    relay.remove(&one.environment).await.unwrap();
    bed.put(&one).await.unwrap();
    assert_eq!(relay.apply(&one).await.unwrap(), Done::Started);
    assert_eq!(ask("127.0.60.22:18055", b"x").await.unwrap(), b"ax");
    assert_eq!(relay.apply(&one).await.unwrap(), Done::Nothing);

    // Another TCP port makes HAProxy anew, at another address of the network; the relay finds it again.
    let mut more = one.clone();
    more.tcp = bed.routes("haproxytest-relaypub", "127.0.60.22", &[(18056, port)]).tcp;
    assert_eq!(bed.put(&more).await.unwrap().done, Done::Recreated);
    assert_eq!(relay.apply(&more).await.unwrap(), Done::Nothing);
    assert_eq!(ask("127.0.60.22:18055", b"y").await.unwrap(), b"ay");

    let two = with_udp(&more, &[(18055, port), (18057, port)]);
    bed.put(&two).await.unwrap();
    assert_eq!(relay.apply(&two).await.unwrap(), Done::Recreated);
    assert_eq!(ask("127.0.60.22:18057", b"z").await.unwrap(), b"az");
    assert_eq!(relay.remove(&two.environment).await.unwrap(), Done::Removed);
    bed.clean().await;
    bed.remove_network().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn datagrams_go_round_a_node_that_is_down_and_back_when_it_is_up() {
    let Some(bed) = Bed::new("nodes", 18).await else { return };
    let Some(relay) = relay(&bed).await else { return };
    let port = echo("127.0.61.18:0", b'a').await;
    if UdpSocket::bind(("127.0.62.18", port)).await.is_err() {
        println!("skipped: the port is in use");
        return;
    }
    echo(&format!("127.0.62.18:{port}"), b'b').await;
    let first = WebServer::start("127.0.61.18", "a").await;
    let _second = WebServer::start("127.0.62.18", "b").await;
    let mut routes = with_udp(&bed.routes("haproxytest-nodes", "127.0.60.21", &[]), &[(18054, port)]);
    routes.nodes.push(routes.nodes[0].clone());
    routes.nodes[1].name = "loko-haproxytest-nodes-worker".parse().unwrap();
    routes.nodes[1].address = "127.0.62.18".parse().unwrap();
    relay.remove(&routes.environment).await.unwrap();
    bed.put(&routes).await.unwrap();
    relay.apply(&routes).await.unwrap();
    assert!(ask("127.0.60.21:18054", b"?").await.is_some());
    assert_eq!(answered_by("127.0.60.21:18054").await, BTreeSet::from([b'a', b'b']));

    let down = Instant::now();
    drop(first);
    until("127.0.60.21:18054", &BTreeSet::from([b'b'])).await;
    println!(
        "measured: datagrams went round a node {:?} after it was down",
        down.elapsed()
    );
    let _again = WebServer::start("127.0.61.18", "a").await;
    until("127.0.60.21:18054", &BTreeSet::from([b'a', b'b'])).await;
    relay.remove(&routes.environment).await.unwrap();
    bed.clean().await;
}

/// Which servers answer sixteen sources.
async fn answered_by(address: &str) -> BTreeSet<u8> {
    let mut letters = BTreeSet::new();
    for _ in 0..16 {
        letters.extend(ask(address, b"?").await.map(|answer| answer[0]));
    }
    letters
}

async fn until(address: &str, letters: &BTreeSet<u8>) {
    for _ in 0..100 {
        if answered_by(address).await == *letters {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("the servers that answer are not {letters:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_comes_to_its_source() {
    let Some(bed) = Bed::new("udp", 9).await else { return };
    let Some(relay) = relay(&bed).await else { return };
    let server = echo("127.0.61.9:0", b'a').await;
    let routes = with_udp(&bed.routes("haproxytest-udp", "127.0.60.9", &[]), &[(18053, server)]);
    let _up = WebServer::start("127.0.61.9", "a").await;
    relay.remove(&routes.environment).await.unwrap();
    bed.put(&routes).await.unwrap();
    relay.apply(&routes).await.unwrap();
    // It asks where its ports lead a moment after they are bound.
    assert!(ask("127.0.60.9:18053", b"ready").await.is_some());

    let in_flight = Arc::new(Semaphore::new(IN_FLIGHT));
    let before = Instant::now();
    let sources: Vec<_> = (0..SOURCES)
        .map(|source| tokio::spawn(converse(source, in_flight.clone())))
        .collect();
    let (mut answered, mut lost, mut crossed) = (0, 0, 0);
    for source in sources {
        let (a, l, c) = source.await.unwrap();
        (answered, lost, crossed) = (answered + a, lost + l, crossed + c);
    }
    println!(
        "measured: {DATAGRAMS} datagrams of 1 to 1400 bytes from {SOURCES} sources in {:?}: {answered} answered, {lost} lost, {crossed} crossed",
        before.elapsed()
    );
    relay.remove(&routes.environment).await.unwrap();
    bed.clean().await;
    assert_eq!((answered, lost, crossed), (DATAGRAMS, 0, 0));
}

/// Sends this source's share, at most two at once; every answer must be to something that this source asked.
async fn converse(source: u32, in_flight: Arc<Semaphore>) -> (u32, u32, u32) {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.connect("127.0.60.9:18053").await.unwrap();
    let (mut answered, mut lost, mut crossed) = (0, 0, 0);
    let mut buffer = vec![0; 2048];
    for pair in 0..DATAGRAMS / SOURCES / 2 {
        let _permits = in_flight.acquire_many(2).await.unwrap();
        let mut asked = BTreeSet::new();
        for half in 0..2 {
            let payload = payload(source, pair * 2 + half);
            socket.send(&payload).await.unwrap();
            asked.insert(payload);
        }
        for _ in 0..2 {
            match tokio::time::timeout(Duration::from_secs(3), socket.recv(&mut buffer)).await {
                Ok(Ok(length)) if asked.remove(&buffer[1..length]) => answered += 1,
                Ok(Ok(_)) => crossed += 1,
                Ok(Err(_)) | Err(_) => lost += 1,
            }
        }
    }
    (answered, lost, crossed)
}

/// 1 to 1,400 bytes that no other source sends, and this one not twice in a row.
fn payload(source: u32, number: u32) -> Vec<u8> {
    let length = 1 + (number * 7919 + source) % 1400;
    let start = u8::try_from(source * 2 + number % 2).unwrap();
    let rest = (1..length).map(|index| ((index * 31 + number) % 251) as u8);
    [start].into_iter().chain(rest).collect()
}
