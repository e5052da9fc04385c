//! The Corefile in CoreDNS itself: the binary of the test bed, where there is one.
#![cfg(feature = "driver")]
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "helpers of tests fail and say why they were skipped"
)]

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use loko_dns::probe::{Kind, Limits, ProbeError, ask};

/// A CoreDNS that ends with the test.
struct CoreDns(Child);

impl Drop for CoreDns {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn binary() -> Option<PathBuf> {
    let bed = std::env::var("LOKO_TESTBED_DIR").unwrap_or_else(|_| "/var/cache/loko-testbed".into());
    let path = PathBuf::from(bed).join("bin/coredns");
    path.is_file().then_some(path)
}

/// Runs the whole Corefile on ports of its own, with an API server that does not answer.
async fn serve(name: &str, text: &str, port: u16) -> Option<(CoreDns, tempfile::TempDir)> {
    let Some(binary) = binary() else {
        println!("skipped: no coredns in the test bed");
        return None;
    };
    let text = text
        .replace(":53 {", &format!(":{port} {{\n    bind 127.0.0.1"))
        .replace(
            "kubernetes cluster.local in-addr.arpa ip6.arpa {",
            "kubernetes cluster.local in-addr.arpa ip6.arpa {\n        endpoint http://127.0.0.1:9",
        )
        .replace("    health {", &format!("    health 127.0.0.1:{} {{", port + 1))
        .replace("    ready\n", &format!("    ready 127.0.0.1:{}\n", port + 2))
        .replace("prometheus :9153", &format!("prometheus 127.0.0.1:{}", port + 3))
        .replace("/etc/resolv.conf", "127.0.0.1:9")
        .replace("    loop\n", "");
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join(name);
    fs_err::write(&file, text).unwrap();
    let log = fs_err::File::create(directory.path().join("log")).unwrap();
    let child = Command::new(binary)
        .arg("-conf")
        .arg(&file)
        .stdout(Stdio::from(log.into_file()))
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let server = CoreDns(child);
    for _ in 0..100 {
        if ask(local(port), "dev.me", Kind::A, Limits::default()).await != Err(ProbeError::Closed) {
            return Some((server, directory));
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("{}", fs_err::read_to_string(directory.path().join("log")).unwrap());
}

fn local(port: u16) -> SocketAddr {
    ([127, 0, 0, 1], port).into()
}

async fn short(port: u16, name: &str, kind: Kind) -> String {
    let answer = ask(local(port), name, kind, Limits::default()).await.unwrap();
    let addresses: Vec<String> = answer.addresses.iter().map(ToString::to_string).collect();
    format!("{} {}", answer.code, addresses.join(" ")).trim().to_owned()
}

#[tokio::test]
async fn pods_get_traefiks_address_for_every_name() {
    let domain = "dev.me".parse().unwrap();
    let text = loko_dns::corefile(
        &domain,
        true,
        &std::collections::BTreeSet::new(),
        [10, 96, 0, 10].into(),
    );
    let Some(_server) = serve("wildcard", &text, 15470).await else {
        return;
    };
    for (name, kind, expected) in [
        ("shop.dev.me", Kind::A, "NOERROR 10.96.0.10"),
        ("a.b.dev.me", Kind::A, "NOERROR 10.96.0.10"),
        ("dev.me", Kind::A, "NOERROR 10.96.0.10"),
        ("shop.dev.me", Kind::Aaaa, "NOERROR"),
        ("shop.dev.me", Kind::Https, "NOERROR"),
    ] {
        assert_eq!(short(15470, name, kind).await, expected, "{name} {kind}");
    }
}

#[tokio::test]
async fn without_the_wildcard_pods_know_the_same_names_as_the_host() {
    let domain = "dev.me".parse().unwrap();
    let hosts = ["shop.dev.me".parse().unwrap(), "x.y.dev.me".parse().unwrap()].into();
    let text = loko_dns::corefile(&domain, false, &hosts, [10, 96, 0, 10].into());
    let Some(_server) = serve("exact", &text, 15480).await else {
        return;
    };
    for (name, kind, expected) in [
        ("shop.dev.me", Kind::A, "NOERROR 10.96.0.10"),
        ("SHOP.dev.ME", Kind::A, "NOERROR 10.96.0.10"),
        ("x.y.dev.me", Kind::A, "NOERROR 10.96.0.10"),
        ("shop.dev.me", Kind::Aaaa, "NOERROR"),
        ("shop.dev.me", Kind::Https, "NOERROR"),
        ("other.dev.me", Kind::A, "NXDOMAIN"),
        ("myshop.dev.me", Kind::A, "NXDOMAIN"),
    ] {
        assert_eq!(short(15480, name, kind).await, expected, "{name} {kind}");
    }
    // Nobody is known in an environment without names.
    let none = loko_dns::corefile(
        &domain,
        false,
        &std::collections::BTreeSet::new(),
        [10, 96, 0, 10].into(),
    );
    let Some(_server) = serve("none", &none, 15490).await else {
        return;
    };
    assert_eq!(short(15490, "shop.dev.me", Kind::A).await, "NXDOMAIN");
}
