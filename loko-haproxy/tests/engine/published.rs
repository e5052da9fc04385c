//! Where the engine publishes ports, as Docker Desktop does.

use loko_haproxy::{Change, Done};
use tokio::net::TcpSocket;
use tokio::sync::Mutex;

use crate::bed::{Bed, EchoServer, send_and_receive};

/// There is one address that containers and this host both reach, and one port of it that says that a node is up.
static GATEWAY: Mutex<()> = Mutex::const_new(());

#[tokio::test(flavor = "multi_thread")]
async fn a_new_port_makes_the_container_anew_and_one_that_goes_does_not() {
    let Some(bed) = Bed::new("published", 10).await else {
        return;
    };
    let bed = bed.published();
    let _alone = GATEWAY.lock().await;
    let gateway = bed.gateway().await;
    let server = EchoServer::start(&format!("{gateway}:0")).await;
    let routes = |name: &str, address: &str, ports: &[(u16, u16)]| {
        let mut routes = bed.routes(name, address, ports);
        routes.nodes[0].address = gateway;
        routes
    };
    let dev = routes("dev", "127.0.60.10", &[(18060, server.port())]);
    assert_eq!(bed.put(&dev).await.unwrap().done, Done::Started);
    assert_eq!(send_and_receive("127.0.60.10:18060", b"one").await.unwrap(), b"one");
    assert_eq!(bed.put(&dev).await.unwrap().done, Done::Nothing);

    // The same port of another address has another number inside.
    let shop = routes("shop", "127.0.60.11", &[(18060, server.port())]);
    assert_eq!(bed.put(&shop).await.unwrap().done, Done::Recreated);
    assert_eq!(send_and_receive("127.0.60.10:18060", b"one").await.unwrap(), b"one");
    assert_eq!(send_and_receive("127.0.60.11:18060", b"two").await.unwrap(), b"two");

    // Where only backends change, or a port goes, nobody's connection ends.
    let started = bed.started_at().await;
    let mut moved = shop.clone();
    moved.nodes.push(moved.nodes[0].clone());
    moved.nodes[1].name = "loko-shop-worker".parse().unwrap();
    assert_eq!(bed.put(&moved).await.unwrap().done, Done::Reloaded);
    let gone = bed.edge.apply(&Change::Remove("dev".parse().unwrap())).await.unwrap();
    assert_eq!(gone.done, Done::Reloaded);
    assert_eq!(send_and_receive("127.0.60.11:18060", b"two").await.unwrap(), b"two");
    assert_eq!(bed.put(&moved).await.unwrap().done, Done::Nothing);
    assert_eq!(bed.started_at().await, started);
    bed.clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_that_cannot_be_made_anew_comes_back_as_it_was() {
    let Some(bed) = Bed::new("unmade", 17).await else {
        return;
    };
    let bed = bed.published();
    let _alone = GATEWAY.lock().await;
    let gateway = bed.gateway().await;
    let server = EchoServer::start(&format!("{gateway}:0")).await;
    let mut dev = bed.routes("dev", "127.0.60.19", &[(18068, server.port())]);
    dev.nodes[0].address = gateway;
    bed.put(&dev).await.unwrap();

    // A socket that is bound and does not listen is in no table, and the engine cannot publish its port.
    let hidden = TcpSocket::new_v4().unwrap();
    hidden.bind("127.0.60.20:18068".parse().unwrap()).unwrap();
    let mut shop = bed.routes("shop", "127.0.60.20", &[(18068, server.port())]);
    shop.nodes[0].address = gateway;
    let error = bed.put(&shop).await.unwrap_err();
    println!("the engine said: {error}");
    assert_eq!(send_and_receive("127.0.60.19:18068", b"dev").await.unwrap(), b"dev");
    assert_eq!(bed.put(&dev).await.unwrap().done, Done::Nothing);
    assert_eq!(bed.edge.environments().await.unwrap().len(), 1);

    drop(hidden);
    assert_eq!(bed.put(&shop).await.unwrap().done, Done::Recreated);
    assert_eq!(send_and_receive("127.0.60.20:18068", b"shop").await.unwrap(), b"shop");
    bed.clean().await;
}
