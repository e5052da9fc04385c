//! Traffic of all kinds while ports and environments come and go: nobody notices.

use std::collections::BTreeSet;
use std::net::UdpSocket;
use std::time::Duration;

use crate::clients::{Clients, Crowd};
use crate::environment::{Environment, Place};
use crate::http;
use crate::run::eventually;
use crate::suite::{self, Suite};
use crate::{Test, Topic};

pub(crate) const TOPIC: Topic = Topic {
    name: "traffic",
    tests: &[
        Test("every_datagram_is_answered_at_its_source", &["dig"], datagrams),
        Test(
            "clients_notice_nothing_of_ports_that_come_and_go",
            &["dig"],
            ports_come_and_go,
        ),
        Test(
            "a_port_that_another_environment_has_is_refused_by_its_name",
            &["dig"],
            refused,
        ),
        Test(
            "clients_notice_nothing_of_an_environment_that_comes_and_goes",
            &["curl", "dig"],
            environment_comes_and_goes,
        ),
    ],
};

/// Workloads that speak what the quickstart's do not: gRPC, DNS, datagrams, and TLS on a port that environments share.
const MORE: &str = "
    - name: wire
      image: testbed/wire:1
      env: {WIRE_SERVICE: \"${LOKO_ENV_NAME}\"}
      http:
        port: 50051
        annotations: {traefik.ingress.kubernetes.io/service.serversscheme: h2c}
      ports: [9007/udp]

    - name: secure
      image: valkey/valkey:8.1
      ports: [{port: 6379, tls: sni}]
";
const DNS: &str = "
    # Without a Corefile it answers every question with the address that asked.
    - name: dns
      image: registry.k8s.io/coredns/coredns:v1.14.2
      args: [\"-dns.port=1053\"]
      ports: [1053/udp]
";
const SHARED: u16 = 6390;
/// `go-httpbin` ends a `WebSocket` after ten seconds otherwise.
const PATIENT: &str = "MAX_DURATION: 10m";

/// An environment at the address of the quickstart, of another user: with a home and an authority of its own.
pub(crate) fn twin(place: &Place, address: &str) -> Environment {
    let place = Place {
        home: place.home.join("another-user"),
    };
    Environment::new(
        &place,
        "e2e-twin",
        "twin.loko.test",
        address,
        twin_yaml(address, "valkey: {6379: 6381}, "),
    )
}

fn twin_yaml(address: &str, overrides: &str) -> String {
    format!(
        "name: e2e-twin
network:
  ip: {address}
  domain: twin.loko.test
  port-overrides: {{{overrides}wire: {{9007: 9008}}, secure: {{6379: {SHARED}}}}}
components:
  haproxy: {{version: \"3.0.11\"}}
registry: {{enabled: false}}
workloads:
  user:
    - name: whoami
      image: mccutchen/go-httpbin:2.25.0
      env: {{{PATIENT}}}
      http: {{port: 8080}}
    - name: valkey
      image: valkey/valkey:8.1
      ports: [6379]
{MORE}"
    )
}

/// The quickstart with more workloads, and a port of the host for each of `moved`, which all lead to one workload.
fn busy(quick: &Environment, moved: &[u16]) -> String {
    // The first is the one that it listens on, and by which it is known to be ready.
    let inner: Vec<String> = (0..MOVING).map(|index| (6379 + index).to_string()).collect();
    let overrides: Vec<String> = inner
        .iter()
        .zip(moved)
        .map(|(port, host)| format!("{port}: {host}"))
        .collect();
    let network = format!(
        "  domain: {}\n  port-overrides: {{secure: {{6379: {SHARED}}}, many: {{{}}}}}\n",
        quick.domain,
        overrides.join(", ")
    );
    let yaml = quick.yaml.replace(&format!("  domain: {}\n", quick.domain), &network);
    let image = "      image: mccutchen/go-httpbin:2.25.0\n";
    let yaml = yaml.replace(image, &format!("{image}      env: {{{PATIENT}}}\n"));
    assert!(yaml.contains("port-overrides") && yaml.contains(PATIENT), "{yaml}");
    let many = format!(
        "    - {{name: many, image: \"valkey/valkey:8.1\", ports: [{}]}}\n",
        inner.join(", ")
    );
    format!("{}\n{MORE}{DNS}{many}", yaml.trim_end())
}

/// How many ports of the host come and go at each change.
const MOVING: u16 = 8;

/// The ports of the host that a change opens; each gives up those of the one before.
fn ports_of(change: u16) -> Vec<u16> {
    (0..MOVING)
        .map(|index| 20_000 + (change % 50) * MOVING + index)
        .collect()
}

/// Brings the quickstart to its busy form.
#[track_caller]
fn busy_quick(suite: &Suite) -> &Environment {
    let quick = &suite.quick;
    quick.up();
    let wanted = busy(quick, &ports_of(0));
    if fs_err::read_to_string(&quick.file).unwrap() != wanted {
        quick.write(&wanted);
        quick.loko("create").ok();
    }
    quick
}

/// 200 clients that reconnect and 50 that hold a connection. `LOKO_E2E_TRAFFIC=full`: without pause, and a hundred changes; two
/// cores that do everything else as well need a quarter of an hour for that.
fn is_full() -> bool {
    std::env::var("LOKO_E2E_TRAFFIC").as_deref() == Ok("full")
}

fn crowd() -> Crowd {
    Crowd {
        reconnecting: 200,
        pause: if is_full() {
            Duration::ZERO
        } else {
            Duration::from_millis(500)
        },
        holding: 50,
    }
}

fn ports_come_and_go(suite: &Suite) {
    let quick = busy_quick(suite);
    let containers = suite::started_at(&quick.name);
    let clients = Clients::start(&quick.resolve(&quick.host("valkey")), 6379, crowd());
    let changes = if is_full() { 100 } else { 10 };
    let mut named = 0;
    for change in 1..=changes {
        quick.write(&busy(quick, &ports_of(change)));
        let said = quick.loko("create").ok();
        let [first, second, ..] = ports_of(change)[..] else {
            panic!("{MOVING} ports move")
        };
        said.says(&format!("{}:{first}", quick.address));
        // Its program listens on the first alone. On a busy machine a connection may stay open long enough to count.
        named += usize::from(
            said.stderr
                .contains(&format!("connections to port {second} are closed at once")),
        );
    }
    assert!(named > 0, "no create said that nothing listens on a port");
    clients.noticed_nothing(&format!("{changes} changes of {MOVING} ports each"));
    assert_eq!(suite::started_at(&quick.name), containers);
    suite.settled(quick);
}

fn refused(suite: &Suite) {
    let (quick, twin) = (busy_quick(suite), &suite.twin);
    twin.write(&twin_yaml(&twin.address, ""));
    let before = suite::ours();
    let refused = twin.loko("create").ends_with(1);
    refused
        .says(&format!("{}:6379", quick.address))
        .says(&format!("of the environment {}", quick.name))
        .says("network.port-overrides");
    twin.loko("config port-check").ends_with(1).says(&quick.name);
    assert_eq!(suite::ours(), before);
    // With an override it is none of the other's.
    twin.write(&twin.yaml);
    let checked = twin.loko("config port-check -o json").ok().json();
    let port = checked["ports"]
        .as_array()
        .unwrap()
        .iter()
        .find(|port| port["address"] == format!("{}:6381", quick.address).as_str());
    assert_eq!(port.unwrap()["use"], "free", "{checked:#}");
}

fn environment_comes_and_goes(suite: &Suite) {
    let (quick, twin) = (busy_quick(suite), &suite.twin);
    let haproxy = suite::started_at(&quick.name).remove("loko-haproxy");
    let clients = Clients::start(&quick.resolve(&quick.host("valkey")), 6379, crowd());
    twin.up();
    both(quick, twin);
    twin.loko("destroy --yes --purge").ok();
    clients.noticed_nothing("the create, the use and the destroy of another environment");
    assert_eq!(suite::started_at(&quick.name).remove("loko-haproxy"), haproxy);
    quick.answers();

    quick.write(&quick.yaml);
    quick.loko("create").ok();
    suite.settled(quick);
}

/// Everything through both at the same time, at one address.
fn both(quick: &Environment, twin: &Environment) {
    assert_eq!(quick.resolve(&quick.host("whoami")), twin.resolve(&twin.host("whoami")));
    std::thread::scope(|scope| {
        for environment in [quick, twin] {
            scope.spawn(move || {
                for _ in 0..5 {
                    environment.answers();
                    rpc(environment);
                }
            });
            scope.spawn(move || sockets(environment));
        }
    });
    // Each has a certificate that the other's authority does not vouch for.
    for (one, other) in [(quick, twin), (twin, quick)] {
        let host = one.host("whoami");
        let refused = other
            .place
            .run("curl")
            .words("--silent --show-error --max-time 20 --noproxy * --cacert")
            .args([other.place.authority().into_os_string()])
            .args([
                "--resolve".to_owned(),
                format!("{host}:443:{}", one.address),
                format!("https://{host}/"),
            ])
            .any();
        // 60: the peer's certificate cannot be authenticated with known CA certificates.
        assert_eq!(refused.code, Some(60), "{refused}");
    }
    shared_port(quick, twin);
}

/// `WebSockets` that stay open while others come and go.
fn sockets(environment: &Environment) {
    let host = environment.host("whoami");
    let open = || {
        let url = format!("wss://{host}/websocket/echo");
        tungstenite::client(url, http::tls(environment, &host)).unwrap().0
    };
    let mut stays = open();
    for turn in 0..5 {
        let text = format!("{} {turn}", environment.name);
        let mut other = open();
        for socket in [&mut stays, &mut other] {
            socket.send(tungstenite::Message::text(text.clone())).unwrap();
            assert_eq!(socket.read().unwrap().to_text().unwrap(), text);
        }
        other.close(None).unwrap();
    }
    stays.close(None).unwrap();
}

/// gRPC's health service, which knows the environment that it is in and no other (gRPC: `grpc.health.v1.Health/Check`).
fn rpc(environment: &Environment) {
    let ask = |service: &str| {
        // A message is a byte of flags, its length, and itself; of the request it is field 1, a text.
        let length = u8::try_from(service.len()).unwrap();
        let message = [&[0, 0, 0, 0, length + 2, 0x0a, length], service.as_bytes()].concat();
        let file = environment
            .place
            .home
            .join(format!("{}-{service}.rpc", environment.name));
        fs_err::write(&file, message).unwrap();
        let host = environment.host("wire");
        environment
            .curl(&host)
            .words("--http2 --dump-header - --output - --header content-type:application/grpc --header te:trailers --data-binary")
            .args([format!("@{}", file.display()), format!("https://{host}/grpc.health.v1.Health/Check")])
            .ok()
    };
    let serving = ask(&environment.name);
    serving.says("HTTP/2 200").says("grpc-status: 0");
    // Of the answer field 1, a number: SERVING.
    assert!(serving.stdout.contains("\u{8}\u{1}"), "{serving}");
    // 5: NOT_FOUND.
    ask("nobody").says("grpc-status: 5");
}

/// One port of one address, where each name leads to its own environment.
fn shared_port(quick: &Environment, twin: &Environment) {
    use std::io::{Read as _, Write as _};
    let say = |environment: &Environment, command: &str| {
        let mut stream = http::tls_at(environment, &environment.host("secure"), SHARED);
        stream.write_all(format!("{command}\r\n").as_bytes()).unwrap();
        let mut answer = vec![0; 256];
        let length = stream.read(&mut answer).unwrap();
        String::from_utf8_lossy(&answer[..length]).trim().to_owned()
    };
    for environment in [quick, twin] {
        assert_eq!(say(environment, &format!("SET whose {}", environment.name)), "+OK");
    }
    for environment in [quick, twin] {
        assert!(
            say(environment, "GET whose").ends_with(&environment.name),
            "{}",
            environment.name
        );
    }
}

const DATAGRAMS: usize = 10_000;
const SOURCES: usize = 20;
/// Of one source; with all of them at most fifty are under way.
const AT_ONCE: usize = 2;
const LARGEST: usize = 1400;
const PATIENCE: Duration = Duration::from_secs(20);

fn datagrams(suite: &Suite) {
    let quick = busy_quick(suite);
    let address = quick.resolve(&quick.host("wire"));
    // The relay hears where its ports lead a moment after they are bound.
    for port in [9007, 1053] {
        eventually(Duration::from_secs(30), "the first datagram is answered", || {
            let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
            socket.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
            socket.connect((address.as_str(), port)).unwrap();
            socket.send(&question(1, 1)).map_err(|error| error.to_string())?;
            socket.recv(&mut [0; 1500]).map(drop).map_err(|error| error.to_string())
        });
    }
    let started = std::time::Instant::now();
    std::thread::scope(|scope| {
        for source in 0..SOURCES {
            let address = address.as_str();
            scope.spawn(move || echoes(address, source));
        }
        for source in 0..5 {
            let address = address.as_str();
            scope.spawn(move || questions(address, source));
        }
    });
    println!(
        "measured: {DATAGRAMS} datagrams of 1 to {LARGEST} bytes from {SOURCES} sources, and 500 questions beside them, in {:?}",
        started.elapsed()
    );
}

/// Sends this source's share; every answer must be to something that this source asked and has no answer to yet.
fn echoes(address: &str, source: usize) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.connect((address, 9007)).unwrap();
    let mut buffer = vec![0; 2048];
    for turn in 0..DATAGRAMS / SOURCES / AT_ONCE {
        let mut asked: BTreeSet<Vec<u8>> = (0..AT_ONCE)
            .map(|half| payload(source, turn * AT_ONCE + half))
            .collect();
        for payload in &asked {
            socket.send(payload).unwrap();
        }
        for _ in 0..AT_ONCE {
            match socket.recv(&mut buffer) {
                Ok(length) => assert!(asked.remove(&buffer[..length]), "source {source}: a crossed answer"),
                Err(error) => panic!("source {source}, turn {turn}: lost: {error}"),
            }
        }
    }
}

/// 1 to 1,400 bytes that no other source sends, and this one not twice in a row.
fn payload(source: usize, number: usize) -> Vec<u8> {
    let length = 1 + (number * 7919 + source) % LARGEST;
    let start = u8::try_from(source * AT_ONCE + number % AT_ONCE).unwrap();
    let rest = (1..length).map(|index| u8::try_from((index * 31 + number) % 251).unwrap());
    [start].into_iter().chain(rest).collect()
}

/// A hundred questions to the DNS server, one after another; each answer repeats its number and its question.
fn questions(address: &str, source: u16) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.connect((address, 1053)).unwrap();
    let mut buffer = vec![0; 2048];
    for number in 0..100 {
        let asked = question(source, number);
        socket.send(&asked).unwrap();
        let length = socket.recv(&mut buffer).unwrap();
        let answer = &buffer[..length];
        assert_eq!(answer[..2], asked[..2], "the number");
        // QR is set and RCODE is 0 (RFC 1035, 4.1.1).
        assert_eq!((answer[2] >> 7, answer[3] & 0x0f), (1, 0), "{answer:?}");
        assert_eq!(answer[12..asked.len()], asked[12..], "the question");
    }
}

/// A question for the address of `n<number>.s<source>.test` (RFC 1035, 4.1).
fn question(source: u16, number: u16) -> Vec<u8> {
    let mut message = (source << 8 | number).to_be_bytes().to_vec();
    message.extend([1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    for label in [format!("n{number}"), format!("s{source}"), "test".to_owned()] {
        message.push(u8::try_from(label.len()).unwrap());
        message.extend(label.as_bytes());
    }
    message.extend([0, 0, 1, 0, 1]);
    message
}
