//! The driver against a real engine. Without one, or without an image of HAProxy, each test says so and passes.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test says what it skips and measures, and stops at what it did not expect"
)]

mod bed;
mod failure;
mod published;
mod together;
mod traffic;
mod udp;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use bed::{Bed, EchoServer, get, send_and_receive};
use loko_haproxy::{Change, Done, HaproxyError};

#[tokio::test(flavor = "multi_thread")]
async fn routes_come_change_and_go() {
    let Some(bed) = Bed::new("life", 1).await else { return };
    let server = EchoServer::start("127.0.61.1:0").await;

    // First time: a container, and traffic through it.
    let dev = bed.routes("dev", "127.0.60.1", &[(18032, server.port())]);
    let report = bed.put(&dev).await.unwrap();
    assert_eq!(report.done, Done::Started);
    assert!(report.opened.contains(&"127.0.60.1:18032".parse().unwrap()));
    assert_eq!(send_and_receive("127.0.60.1:18032", b"hello").await.unwrap(), b"hello");

    // What is in use by ourselves is known without looking at processes.
    let in_use = bed.edge.served().await.unwrap();
    assert!(
        in_use
            .iter()
            .any(|port| port.address == "127.0.60.1:18032".parse().unwrap())
    );
    bed.edge.check(&dev).await.unwrap();
    let other = bed.routes("other", "127.0.60.1", &[(18032, 1)]);
    let error = bed.edge.check(&other).await.unwrap_err();
    assert!(
        matches!(&error, HaproxyError::Conflicts { conflicts, .. } if conflicts.len() == 1),
        "{error}"
    );

    // Again: nothing, and fast.
    let started = bed.started_at().await;
    let before = Instant::now();
    assert_eq!(bed.put(&dev).await.unwrap().done, Done::Nothing);
    println!("measured: a second apply took {:?}", before.elapsed());
    assert_eq!(bed.started_at().await, started);

    // A port more, a port less: reloads of the same container.
    let two = bed.routes("dev", "127.0.60.1", &[(18032, server.port()), (18033, server.port())]);
    let before = Instant::now();
    let report = bed.put(&two).await.unwrap();
    println!("measured: a change took {:?}", before.elapsed());
    assert_eq!((report.done, report.opened.len()), (Done::Reloaded, 1));
    assert_eq!(send_and_receive("127.0.60.1:18033", b"two").await.unwrap(), b"two");
    let report = bed.put(&dev).await.unwrap();
    assert_eq!((report.done, report.closed.len()), (Done::Reloaded, 1));
    assert!(send_and_receive("127.0.60.1:18033", b"gone").await.is_err());
    assert_eq!(bed.started_at().await, started);

    let status = bed.edge.status().await.unwrap();
    assert_eq!((status.current, status.as_written), (Some(true), true));
    let traffic = status.statistics.unwrap();
    assert!(traffic.at("127.0.60.1:18032".parse().unwrap()).is_some());

    // The last one takes everything with it.
    let gone = bed.edge.apply(&Change::Remove("dev".parse().unwrap())).await.unwrap();
    assert_eq!(gone.done, Done::Removed);
    let again = bed.edge.apply(&Change::Remove("dev".parse().unwrap())).await.unwrap();
    assert_eq!(again.done, Done::Nothing);
    assert!(bed.leftovers().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_in_use_is_named_and_nothing_is_made() {
    let Some(bed) = Bed::new("busy", 2).await else { return };
    let busy = std::net::TcpListener::bind("127.0.60.2:18034").unwrap();
    let dev = bed.routes("dev", "127.0.60.2", &[(18034, 1)]);
    let error = bed.put(&dev).await.unwrap_err();
    let HaproxyError::PortsInUse { conflicts } = error else {
        panic!("{error}")
    };
    assert_eq!(conflicts.len(), 1);
    assert_eq!(conflicts[0].owner.pid, Some(std::process::id()));
    assert!(bed.leftovers().await.is_empty());
    drop(busy);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_was_stopped_half_way_is_mended_by_the_next() {
    let Some(bed) = Bed::new("half", 3).await else { return };
    let server = EchoServer::start("127.0.61.3:0").await;
    let dev = bed.routes("dev", "127.0.60.3", &[(18035, server.port())]);
    bed.put(&dev).await.unwrap();

    // Between the rename and the signal: the file says more than the process serves.
    let two = bed.routes("dev", "127.0.60.3", &[(18035, server.port()), (18036, server.port())]);
    bed.put(&two).await.unwrap();
    let files = bed.files().await;
    bed.put(&dev).await.unwrap();
    bed.write(&files).await;
    assert_eq!(bed.edge.status().await.unwrap().current, Some(false));
    assert_eq!(send_and_receive("127.0.60.3:18035", b"old").await.unwrap(), b"old");
    assert_eq!(bed.put(&two).await.unwrap().done, Done::Reloaded);
    assert_eq!(send_and_receive("127.0.60.3:18036", b"new").await.unwrap(), b"new");

    // A file that a person broke: what runs goes on, and the next run writes it anew.
    bed.write(&[("haproxy.cfg".to_owned(), b"nonsense\n".to_vec())]).await;
    assert!(!bed.edge.status().await.unwrap().as_written);
    assert_eq!(bed.put(&two).await.unwrap().done, Done::Reloaded);
    assert!(bed.edge.status().await.unwrap().as_written);

    // A container that cannot start with it either.
    bed.write(&[("haproxy.cfg".to_owned(), b"nonsense\n".to_vec())]).await;
    bed.restart().await;
    assert_eq!(bed.put(&two).await.unwrap().done, Done::Started);
    assert_eq!(send_and_receive("127.0.60.3:18036", b"again").await.unwrap(), b"again");
    bed.clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_configuration_that_is_refused_leaves_everything_as_it_was() {
    let Some(bed) = Bed::new("bad", 4).await else { return };
    let server = EchoServer::start("127.0.61.4:0").await;
    let dev = bed.routes("dev", "127.0.60.4", &[(18037, server.port())]);
    bed.put(&dev).await.unwrap();
    let before = bed.files().await;

    // Two nodes of one name: HAProxy takes no such backend.
    let mut broken = bed.routes("dev", "127.0.60.4", &[(18037, server.port()), (18038, server.port())]);
    broken.nodes.push(broken.nodes[0].clone());
    let error = bed.put(&broken).await.unwrap_err();
    let HaproxyError::Refused { message } = &error else {
        panic!("{error}")
    };
    println!("HAProxy said: {message}");
    assert!(
        message.contains("haproxy.cfg.new-") || message.contains("server"),
        "{message}"
    );
    assert_eq!(bed.files().await, before, "no file changed and none was left");
    assert_eq!(send_and_receive("127.0.60.4:18037", b"same").await.unwrap(), b"same");
    assert_eq!(bed.put(&dev).await.unwrap().done, Done::Nothing);

    bed.clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_environments_share_http_by_host_and_one_leaves() {
    let Some(bed) = Bed::new("pair", 5).await else { return };
    let (one, two) = (
        bed::WebServer::start("127.0.61.5", "one").await,
        bed::WebServer::start("127.0.62.5", "two").await,
    );
    if one.is_none() || two.is_none() {
        println!("skipped: the node ports are in use");
        bed.clean().await;
        return;
    }
    let mut dev = bed.routes("dev", "127.0.60.5", &[]);
    dev.nodes[0].address = "127.0.61.5".parse().unwrap();
    let mut shop = bed.routes("shop", "127.0.60.5", &[]);
    shop.nodes[0].address = "127.0.62.5".parse().unwrap();
    bed.put(&dev).await.unwrap();
    bed.put(&shop).await.unwrap();

    let http = format!("127.0.60.5:{}", dev.http);
    assert!(get(&http, "a.dev.me").await.unwrap().ends_with("one"));
    assert!(get(&http, "a.shop.me").await.unwrap().ends_with("two"));
    assert!(get(&http, "a.other.me").await.unwrap().contains(" 404 "));
    assert_eq!(bed.sni(&dev, "a.dev.me").await, "one");
    assert_eq!(bed.sni(&dev, "a.shop.me").await, "two");
    assert_eq!(bed.sni(&dev, "a.other.me").await, "", "nobody's name is refused");

    // What one has the other cannot take.
    let mut thief = bed.routes("thief", "127.0.60.5", &[]);
    thief.domain = shop.domain.clone();
    let error = bed.put(&thief).await.unwrap_err();
    assert!(matches!(error, HaproxyError::Conflicts { .. }));

    assert_eq!(bed.warnings().await, "", "HAProxy has nothing to say of the file");
    bed.edge.apply(&Change::Remove("shop".parse().unwrap())).await.unwrap();
    assert!(get(&http, "a.dev.me").await.unwrap().ends_with("one"));
    let all: BTreeSet<String> = bed
        .edge
        .environments()
        .await
        .unwrap()
        .keys()
        .map(ToString::to_string)
        .collect();
    assert_eq!(all, BTreeSet::from(["dev".to_owned()]));
    bed.clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_is_not_here_does_not_keep_the_others_from_serving() {
    let Some(bed) = Bed::new("lan", 6).await else { return };
    let server = EchoServer::start("127.0.61.6:0").await;
    let dev = bed.routes("dev", "127.0.60.6", &[(18039, server.port())]);
    bed.put(&dev).await.unwrap();
    // TEST-NET-3 of RFC 5737 is no address of this host.
    let away = bed.routes("away", "203.0.113.77", &[(18039, server.port())]);
    assert_eq!(bed.put(&away).await.unwrap().done, Done::Reloaded);
    assert_eq!(send_and_receive("127.0.60.6:18039", b"here").await.unwrap(), b"here");
    bed.restart().await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(send_and_receive("127.0.60.6:18039", b"here").await.unwrap(), b"here");
    bed.clean().await;
}
