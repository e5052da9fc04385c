//! Several that change one HAProxy: at once, without a lock between them, and of different versions.

use std::collections::BTreeSet;

use loko_engine::driver::ExecSpec;
use loko_haproxy::{Change, Done};

use crate::bed::{Bed, EchoServer, send_and_receive};

/// How often each of them changes something.
const CHANGES: u16 = 6;

#[tokio::test(flavor = "multi_thread")]
async fn nobodys_change_is_lost_where_several_change_at_once() {
    let Some(bed) = Bed::new("together", 19).await else {
        return;
    };
    let server = EchoServer::start("127.0.61.19:0").await;
    let names = ["one", "two", "three"];
    let ports_of = |number: u16| -> Vec<(u16, u16)> { (0..number).map(|port| (18070 + port, server.port())).collect() };
    let address = |index: usize| format!("127.0.60.{}", 30 + index);
    bed.put(&bed.routes("one", &address(0), &ports_of(1))).await.unwrap();

    let mut runs = Vec::new();
    for (index, name) in names.into_iter().enumerate() {
        let edge = bed.edge.clone();
        let turns: Vec<_> = (1..=CHANGES)
            .map(|number| bed.routes(name, &address(index), &ports_of(number)))
            .collect();
        runs.push(tokio::spawn(async move {
            for routes in turns {
                edge.apply(&Change::Put(Box::new(routes))).await.unwrap();
            }
        }));
    }
    for run in runs {
        run.await.unwrap();
    }
    let stored = bed.edge.environments().await.unwrap();
    assert_eq!(stored.len(), names.len());
    for (index, name) in names.into_iter().enumerate() {
        let last = bed.routes(name, &address(index), &ports_of(CHANGES));
        assert_eq!(stored[&last.environment], last);
        for (port, _) in ports_of(CHANGES) {
            let at = format!("{}:{port}", address(index));
            assert_eq!(send_and_receive(&at, name.as_bytes()).await.unwrap(), name.as_bytes());
        }
    }
    let files: BTreeSet<String> = bed.files().await.into_iter().map(|(path, _)| path).collect();
    let expected = ["haproxy.cfg", "routes/one.yaml", "routes/three.yaml", "routes/two.yaml"];
    assert_eq!(files, expected.map(str::to_owned).into(), "none is left behind");
    bed.clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_newer_version_wrote_is_left_to_it_until_something_changes() {
    let Some(bed) = Bed::new("newer", 20).await else { return };
    let server = EchoServer::start("127.0.61.20:0").await;
    let dev = bed.routes("dev", "127.0.60.40", &[(18090, server.port())]);
    bed.put(&dev).await.unwrap();

    // A newer one says more in the file, and in the routes of its environment.
    let own = format!("LoKO {}", env!("CARGO_PKG_VERSION"));
    let mut files = bed.files().await;
    for (path, contents) in &mut files {
        let text = String::from_utf8_lossy(contents).replace(&own, "LoKO 999.0.0");
        let text = text.replace("    retries 3\n", "    retries 4\n");
        *contents = text.into_bytes();
        assert!(path != "haproxy.cfg" || String::from_utf8_lossy(contents).contains("retries 4"));
    }
    let shop = serde_yaml::to_string(&bed.routes("shop", "127.0.60.41", &[(18090, server.port())])).unwrap();
    files.push((
        "routes/shop.yaml".to_owned(),
        format!("{shop}later: {{key: true}}\n").into_bytes(),
    ));
    bed.write(&files).await;
    let reload = ExecSpec::new(["kill", "-USR2", "1"]);
    bed.engine.exec(&bed.names.container, &reload).await.unwrap();

    files.sort();
    let sorted = |mut files: Vec<(String, Vec<u8>)>| {
        files.sort();
        files
    };
    assert_eq!(bed.put(&dev).await.unwrap().done, Done::Nothing);
    assert_eq!(sorted(bed.files().await), files);

    // A port more is this version's to write, with everybody's routes.
    let two = bed.routes("dev", "127.0.60.40", &[(18090, server.port()), (18091, server.port())]);
    assert_eq!(bed.put(&two).await.unwrap().done, Done::Reloaded);
    for address in ["127.0.60.40:18091", "127.0.60.41:18090"] {
        assert_eq!(send_and_receive(address, b"all").await.unwrap(), b"all");
    }
    let now = bed.files().await;
    let shop = |files: &[(String, Vec<u8>)]| files.iter().find(|(path, _)| path == "routes/shop.yaml").cloned();
    assert_eq!(shop(&now), shop(&files), "another's routes stay as they were written");
    bed.clean().await;
}
