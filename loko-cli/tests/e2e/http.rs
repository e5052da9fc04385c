//! The way of a request: HAProxy, NodePort, Traefik, pod; by name, its certificate checked.

use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use serde_json::Value;
use tungstenite::Message;

use crate::environment::Environment;
use crate::suite::Suite;
use crate::{Test, Topic};

pub(crate) const TOPIC: Topic = Topic {
    name: "http",
    tests: &[
        Test("a_pod_answers_by_name_with_our_certificate", &["curl", "dig"], answers),
        Test(
            "nobody_else_vouches_for_the_certificate",
            &["curl", "dig"],
            certificate_is_checked,
        ),
        Test("a_name_without_a_workload_is_404", &["curl", "dig"], unknown_name),
        Test("http_is_sent_to_https", &["curl", "dig"], redirect),
        Test("a_websocket_passes_and_echoes", &["dig"], websocket),
        Test("the_pod_sees_the_clients_address", &["curl", "dig"], client_address),
        Test("pods_use_the_same_url", &["kubectl"], from_a_pod),
    ],
};

fn answers(suite: &Suite) {
    let quick = &suite.quick;
    quick.up();
    let host = quick.host("whoami");
    let seen = quick.get(&host, "/headers").json();
    assert_eq!(header(&seen, "Host"), host);
    assert_eq!(header(&seen, "X-Forwarded-Proto"), "https");
}

/// A header as the pod saw it.
#[track_caller]
fn header(seen: &Value, name: &str) -> String {
    match seen["headers"][name][0].as_str() {
        Some(value) => value.to_owned(),
        None => panic!("no header {name} in {seen:#}"),
    }
}

fn certificate_is_checked(suite: &Suite) {
    let quick = &suite.quick;
    quick.up();
    let host = quick.host("whoami");
    // Without our authority nothing is trusted, so the requests of the other tests show something.
    let address = quick.resolve(&host);
    let refused = quick
        .place
        .run("curl")
        .words("--silent --show-error --max-time 20 --noproxy * --resolve")
        .args([format!("{host}:443:{address}"), format!("https://{host}/")])
        .any();
    // 60: the peer's certificate cannot be authenticated with known CA certificates.
    assert_eq!(refused.code, Some(60), "{refused}");
    // The certificate names this domain and no other.
    let other = "whoami.other.test";
    let misnamed = quick
        .curl(&host)
        .args([
            "--resolve",
            &format!("{other}:443:{address}"),
            &format!("https://{other}/"),
        ])
        .any();
    assert!(misnamed.code != Some(0), "{misnamed}");
}

fn unknown_name(suite: &Suite) {
    let quick = &suite.quick;
    quick.up();
    let host = quick.host("nobody");
    let answer = quick
        .curl(&host)
        .args([
            "--write-out",
            "%{http_code}",
            "--output",
            "/dev/null",
            &format!("https://{host}/"),
        ])
        .ok();
    assert_eq!(answer.text(), "404");
}

fn redirect(suite: &Suite) {
    let quick = &suite.quick;
    quick.up();
    let host = quick.host("whoami");
    let answer = quick
        .curl(&host)
        .args(["--head", &format!("http://{host}/headers?a=b")])
        .ok()
        .stdout
        .to_lowercase();
    let status = answer.lines().next().unwrap_or_default();
    assert!(status.contains(" 301") || status.contains(" 308"), "{answer}");
    let location = answer.lines().find_map(|line| line.strip_prefix("location: "));
    assert_eq!(
        location,
        Some(format!("https://{host}/headers?a=b").as_str()),
        "{answer}"
    );
    // A client that follows ends at the pod.
    let followed = quick
        .curl(&host)
        .args(["--location", "--fail", &format!("http://{host}/headers")])
        .ok()
        .json();
    assert_eq!(header(&followed, "X-Forwarded-Proto"), "https");
}

fn websocket(suite: &Suite) {
    let quick = &suite.quick;
    quick.up();
    let host = quick.host("whoami");
    let url = format!("wss://{host}/websocket/echo");
    let (mut socket, response) = tungstenite::client(url, tls(quick, &host)).unwrap();
    assert_eq!(response.status(), 101);
    for text in ["first", "second"] {
        socket.send(Message::text(text)).unwrap();
        assert_eq!(socket.read().unwrap().to_text().unwrap(), text);
    }
    socket.close(None).unwrap();
}

/// A TLS connection to a name of an environment that trusts its authority alone.
#[track_caller]
pub(crate) fn tls(environment: &Environment, host: &str) -> rustls::StreamOwned<rustls::ClientConnection, TcpStream> {
    tls_at(environment, host, 443)
}

/// The same at another port.
#[track_caller]
pub(crate) fn tls_at(
    environment: &Environment,
    host: &str,
    port: u16,
) -> rustls::StreamOwned<rustls::ClientConnection, TcpStream> {
    let mut roots = rustls::RootCertStore::empty();
    let authority = CertificateDer::from_pem_file(environment.place.authority()).unwrap();
    roots.add(authority).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from(host.to_owned()).unwrap();
    let connection = rustls::ClientConnection::new(Arc::new(config), name).unwrap();
    let stream = TcpStream::connect((environment.resolve(host), port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    rustls::StreamOwned::new(connection, stream)
}

fn client_address(suite: &Suite) {
    let quick = &suite.quick;
    quick.up();
    let host = quick.host("whoami");
    // All of 127.0.0.0/8 is this host's, so that a client can come from more than one address.
    for client in ["127.0.0.1", "127.0.0.9"] {
        let seen = quick
            .curl(&host)
            .args(["--fail", "--interface", client, &format!("https://{host}/headers")])
            .ok()
            .json();
        assert_eq!(header(&seen, "X-Forwarded-For"), client);
    }
    // What a client says of itself is not believed.
    let forged = quick
        .curl(&host)
        .args([
            "--fail",
            "--header",
            "X-Forwarded-For: 203.0.113.7",
            &format!("https://{host}/headers"),
        ])
        .ok()
        .json();
    assert!(
        !header(&forged, "X-Forwarded-For").contains("203.0.113.7"),
        "{forged:#}"
    );
}

fn from_a_pod(suite: &Suite) {
    let quick = &suite.quick;
    quick.up();
    crate::ports::client(quick);
    let host = quick.host("whoami");
    let exec = format!("exec --namespace loko-workloads {} --", crate::ports::CLIENT);
    let seen = quick
        .kubectl(&format!(
            "{exec} curl -sS --fail --max-time 20 --cacert /loko/ca.crt https://{host}/headers"
        ))
        .ok()
        .json();
    assert_eq!(header(&seen, "Host"), host);
    let pong = quick
        .kubectl(&format!("{exec} valkey-cli -h {} -p 6379 ping", quick.host("valkey")))
        .ok();
    assert_eq!(pong.text(), "PONG");
}
