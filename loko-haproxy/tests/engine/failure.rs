//! What goes wrong on the way, and what serves then.

use std::collections::BTreeMap;
use std::process::Command;

use loko_engine::EdgeMode;
use loko_engine::driver::ExecSpec;
use loko_haproxy::configuration::decide;
use loko_haproxy::parse::parse;
use loko_haproxy::render::render;
use loko_haproxy::{Done, HaproxyError, Limits, Settings};
use tokio::net::TcpSocket;

use crate::bed::{Bed, EchoServer, send_and_receive};

#[tokio::test(flavor = "multi_thread")]
async fn a_port_that_cannot_be_bound_brings_the_old_configuration_back() {
    let Some(bed) = Bed::new("bind", 11).await else { return };
    let server = EchoServer::start("127.0.61.11:0").await;
    let dev = bed.routes("dev", "127.0.60.12", &[(18061, server.port())]);
    bed.put(&dev).await.unwrap();
    let before = bed.files().await;

    // A socket that is bound and does not listen is in no table.
    let hidden = TcpSocket::new_v4().unwrap();
    hidden.bind("127.0.60.12:18062".parse().unwrap()).unwrap();
    let two = bed.routes("dev", "127.0.60.12", &[(18061, server.port()), (18062, server.port())]);
    let error = bed.put(&two).await.unwrap_err();
    let HaproxyError::Reload { message, .. } = &error else {
        panic!("{error}")
    };
    println!("HAProxy said: {message}");
    assert!(message.contains("127.0.60.12:18062"), "{message}");
    assert_eq!(bed.files().await, before);
    assert_eq!(send_and_receive("127.0.60.12:18061", b"old").await.unwrap(), b"old");
    assert_eq!(bed.put(&dev).await.unwrap().done, Done::Nothing);

    drop(hidden);
    assert_eq!(bed.put(&two).await.unwrap().done, Done::Reloaded);
    assert_eq!(send_and_receive("127.0.60.12:18062", b"new").await.unwrap(), b"new");
    bed.clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_changes_nothing() {
    let Some(bed) = Bed::new("full", 12).await else { return };
    let server = EchoServer::start("127.0.61.12:0").await;
    // A volume of 64 KiB in memory.
    let options = ["--opt", "type=tmpfs", "--opt", "device=tmpfs", "--opt", "o=size=64k"];
    let label = format!("{}=volume", loko_engine::labels::ROLE);
    let made = Command::new("docker")
        .args(["volume", "create", "--driver", "local", "--label", &label])
        .args(options)
        .arg(&bed.names.volume)
        .output();
    if !made.is_ok_and(|made| made.status.success()) {
        println!("skipped: no `docker` that makes a volume of a given size");
        return;
    }
    // Memory is given back with the last container that has it mounted.
    let holder = bed.holder().await;
    let dev = bed.routes("dev", "127.0.60.13", &[(18063, server.port())]);
    bed.put(&dev).await.unwrap();
    let fill = "dd if=/dev/zero of=/usr/local/etc/haproxy/filler bs=1k 2>/dev/null; true";
    bed.engine
        .exec(&bed.names.container, &ExecSpec::new(["sh", "-c", fill]))
        .await
        .unwrap();
    let before = bed.files().await;
    let two = bed.routes("dev", "127.0.60.13", &[(18063, server.port()), (18064, server.port())]);
    let error = bed.put(&two).await.unwrap_err();
    println!("the engine said: {error}");
    assert_eq!(bed.files().await, before);
    assert_eq!(send_and_receive("127.0.60.13:18063", b"old").await.unwrap(), b"old");
    let free = ExecSpec::new(["rm", "/usr/local/etc/haproxy/filler"]);
    bed.engine.exec(&bed.names.container, &free).await.unwrap();
    assert_eq!(bed.put(&two).await.unwrap().done, Done::Reloaded);
    bed.engine.remove_container(&holder).await.unwrap();
    bed.clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_ours_is_not_touched() {
    let Some(bed) = Bed::new("foreign", 13).await else {
        return;
    };
    bed.engine
        .ensure_volume(&bed.names.volume, &BTreeMap::new())
        .await
        .unwrap();
    let error = bed.put(&bed.routes("dev", "127.0.60.14", &[])).await.unwrap_err();
    assert!(matches!(
        error,
        HaproxyError::Engine(loko_engine::EngineError::Foreign { kind: "volume", .. })
    ));
    assert_eq!(bed.leftovers().await, std::slice::from_ref(&bed.names.volume));
    bed.clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_that_is_gone_comes_back_with_everybodys_routes() {
    let Some(bed) = Bed::new("gone", 14).await else { return };
    let server = EchoServer::start("127.0.61.14:0").await;
    let dev = bed.routes("dev", "127.0.60.15", &[(18065, server.port())]);
    let shop = bed.routes("shop", "127.0.60.16", &[(18065, server.port())]);
    bed.put(&dev).await.unwrap();
    bed.put(&shop).await.unwrap();
    bed.engine.remove_container(&bed.names.container).await.unwrap();
    assert_eq!(
        bed.edge.environments().await.unwrap().len(),
        2,
        "read through a container that never runs"
    );
    assert_eq!(bed.leftovers().await, std::slice::from_ref(&bed.names.volume));
    assert_eq!(bed.put(&shop).await.unwrap().done, Done::Started);
    assert_eq!(send_and_receive("127.0.60.15:18065", b"dev").await.unwrap(), b"dev");
    assert_eq!(send_and_receive("127.0.60.16:18065", b"shop").await.unwrap(), b"shop");
    bed.clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_was_stopped_right_after_the_start_is_mended_by_the_next() {
    let Some(bed) = Bed::new("start", 15).await else { return };
    let server = EchoServer::start("127.0.61.15:0").await;
    let dev = bed.routes("dev", "127.0.60.17", &[(18066, server.port())]);
    bed.put(&dev).await.unwrap();
    let settings = Settings {
        limits: Limits::new(0, 1),
        prometheus: false,
        statistics: bed.statistics(),
        mode: EdgeMode::HostNetwork,
        published: Vec::new(),
    };
    let first = render(&decide(&BTreeMap::new(), &settings)).text;
    bed.write(&[("haproxy.cfg".to_owned(), first.into_bytes())]).await;
    bed.restart().await;
    assert!(send_and_receive("127.0.60.17:18066", b"x").await.is_err());
    assert_eq!(bed.put(&dev).await.unwrap().done, Done::Reloaded);
    assert_eq!(send_and_receive("127.0.60.17:18066", b"x").await.unwrap(), b"x");
    let files: BTreeMap<String, Vec<u8>> = bed.files().await.into_iter().collect();
    let written = parse(&String::from_utf8_lossy(&files["haproxy.cfg"])).unwrap();
    assert!(written.limits.connections > 32, "what it may use was asked");
    bed.clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_haproxy_has_no_part_in_is_stored_and_it_is_left_alone() {
    let Some(bed) = Bed::new("stored", 16).await else {
        return;
    };
    let mut dev = bed.routes("dev", "127.0.60.18", &[]);
    bed.put(&dev).await.unwrap();
    // It is under the domain already.
    dev.hosts.insert("api.dev.me".parse().unwrap());
    assert_eq!(bed.put(&dev).await.unwrap().done, Done::Nothing);
    assert_eq!(bed.edge.environments().await.unwrap()[&dev.environment], dev);
    bed.clean().await;
}
