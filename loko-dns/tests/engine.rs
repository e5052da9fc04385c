//! dnsmasq itself, on a real engine. Without one every test says so and passes.
#![cfg(feature = "driver")]
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "helpers of tests fail and say why they were skipped"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::num::NonZeroU16;

use loko_config::model::AutoPort;
use loko_config::names::{EnvName, HostName};
use loko_dns::check::{Check, Subject, Verdict, gather, judge, questions};
use loko_dns::driver::{choose_port, facts, is_free};
use loko_dns::plan::Change;
use loko_dns::probe::{Answer, Kind, Limits, ask};
use loko_dns::render::HOSTS_DIRECTORY;
use loko_dns::resolver::host::Host;
use loko_dns::{DnsError, Placement, Zone, container, ensure, remove, sync};
use loko_engine::driver::{ExecSpec, File};
use loko_engine::{EdgeMode, Engine, EngineError, NetworkSpec};

const IMAGE: &str = "dockurr/dnsmasq:2.91";

/// An environment of its own for each test, removed at its end. `None` where no engine answers or holds the image.
struct Bed {
    engine: Engine,
    zone: Zone,
}

impl Bed {
    async fn new(name: &str, port: u16) -> Option<Self> {
        let variables: BTreeMap<String, String> = std::env::vars().collect();
        let endpoint = loko_engine::endpoint::resolve(&variables, None);
        let Ok(engine) = Engine::connect(&endpoint).await else {
            println!("skipped: no engine answers");
            return None;
        };
        if engine.image(IMAGE).await.unwrap().is_none() {
            println!("skipped: the engine does not hold {IMAGE}");
            return None;
        }
        let zone = Zone {
            environment: format!("dnstest-{name}").parse().unwrap(),
            domain: "dev.me".parse().unwrap(),
            address: [127, 0, 0, 1].into(),
            wildcard: true,
            hosts: names(&["shop.dev.me"]),
            port: NonZeroU16::new(port).unwrap(),
        };
        remove(&engine, &zone.environment).await.unwrap();
        Some(Self { engine, zone })
    }

    async fn ensure(&self) -> Change {
        let report = ensure(&self.engine, &self.zone, &placement(EdgeMode::HostNetwork)).await;
        report.unwrap().change
    }

    async fn ask(&self, name: &str, kind: Kind) -> Answer {
        ask(self.zone.server(), name, kind, Limits::default()).await.unwrap()
    }

    /// Asks until the answer is as expected, because dnsmasq learns of a new file a moment later.
    async fn expect(&self, name: &str, kind: Kind, expected: &str) {
        let mut last = String::new();
        for _ in 0..500 {
            last = short(&self.ask(name, kind).await);
            if last == expected {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        panic!("{name} {kind}: {last}, not {expected}");
    }

    /// Fails if the answer is another within a second: dnsmasq learns of a change a moment after it was made.
    async fn stays(&self, name: &str, expected: &str) {
        let until = std::time::Instant::now() + std::time::Duration::from_secs(1);
        while std::time::Instant::now() < until {
            assert_eq!(short(&self.ask(name, Kind::A).await), expected, "{name}");
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    }

    async fn started_at(&self) -> String {
        let name = container::name(&self.zone.environment);
        self.engine.container(&name).await.unwrap().unwrap().started_at
    }

    async fn remove(self) {
        assert!(remove(&self.engine, &self.zone.environment).await.unwrap());
        assert!(!remove(&self.engine, &self.zone.environment).await.unwrap());
    }
}

fn names(list: &[&str]) -> BTreeSet<HostName> {
    list.iter().map(|name| name.parse().unwrap()).collect()
}

fn placement(mode: EdgeMode) -> Placement {
    Placement {
        image: IMAGE.into(),
        mode,
        network: "loko-dnstest".into(),
    }
}

/// `NOERROR 127.0.0.1`, `NOERROR`, `NXDOMAIN`.
fn short(answer: &Answer) -> String {
    let mut text = answer.code.to_string();
    for address in &answer.addresses {
        text = format!("{text} {address}");
    }
    text
}

/// Sockets of the host that a port has, as `/proc/net` lists them: local addresses, sorted.
fn listeners(port: u16) -> Vec<String> {
    let mut found = Vec::new();
    for file in ["udp", "tcp", "udp6", "tcp6"] {
        let text = fs_err::read_to_string(format!("/proc/net/{file}")).unwrap_or_default();
        let local = text.lines().skip(1).filter_map(|line| line.split_whitespace().nth(1));
        let ours = local
            .filter_map(|local| local.split_once(':'))
            .filter(|(_, p)| u16::from_str_radix(p, 16) == Ok(port));
        found.extend(ours.map(|(address, _)| format!("{file} {address}")));
    }
    found
}

#[tokio::test]
async fn a_wildcard_zone_answers_every_name_and_asks_nobody() {
    let Some(mut bed) = Bed::new("wild", 15453).await else {
        return;
    };
    assert_eq!(bed.ensure().await, Change::Create);
    for (name, kind, expected) in [
        ("anything.dev.me", Kind::A, "NOERROR 127.0.0.1"),
        ("a.b.dev.me", Kind::A, "NOERROR 127.0.0.1"),
        ("dev.me", Kind::A, "NOERROR 127.0.0.1"),
        ("ShOp.DEV.me", Kind::A, "NOERROR 127.0.0.1"),
        ("shop.dev.me", Kind::Aaaa, "NOERROR"),
        ("anything.dev.me", Kind::Aaaa, "NOERROR"),
        ("anything.dev.me", Kind::Https, "NOERROR"),
        ("xdev.me", Kind::A, "REFUSED"),
        ("example.org", Kind::A, "REFUSED"),
    ] {
        assert_eq!(short(&bed.ask(name, kind).await), expected, "{name} {kind}");
    }
    // 0100007F is 127.0.0.1 as the kernel writes it: UDP and TCP, there and nowhere else.
    assert_eq!(listeners(15453), ["udp 0100007F", "tcp 0100007F"]);
    assert!(!is_free(bed.zone.address, bed.zone.port));

    let started = bed.started_at().await;
    assert_eq!(bed.ensure().await, Change::Nothing);
    bed.zone.hosts = names(&["new.dev.me"]);
    assert_eq!(bed.ensure().await, Change::Names);
    assert_eq!(bed.ensure().await, Change::Nothing);
    assert_eq!(bed.started_at().await, started, "names change without a restart");

    bed.zone.address = [127, 0, 0, 2].into();
    assert_eq!(bed.ensure().await, Change::Restart);
    assert_eq!(short(&bed.ask("x.dev.me", Kind::A).await), "NOERROR 127.0.0.2");
    assert_eq!(listeners(15453), ["udp 0200007F", "tcp 0200007F"]);

    // An address that is not loopback, as `network.ip: lan` would give: this host's own, on the engine's bridge.
    let bridge = bed.engine.network("bridge").await.unwrap().unwrap();
    let gateway = bridge.subnets[0].hosts().next().unwrap();
    bed.zone.address = gateway.into();
    assert_eq!(bed.ensure().await, Change::Restart);
    let expected = format!("NOERROR {gateway}");
    assert_eq!(short(&bed.ask("x.dev.me", Kind::A).await), expected);
    let direct = ask((gateway, 15453).into(), "x.dev.me", Kind::A, Limits::default()).await;
    assert_eq!(short(&direct.unwrap()), expected);
    bed.remove().await;
}

#[tokio::test]
async fn an_exact_zone_knows_its_names_alone_and_learns_of_others_live() {
    let Some(mut bed) = Bed::new("exact", 15454).await else {
        return;
    };
    bed.zone.wildcard = false;
    bed.zone.domain = "dev.example".parse().unwrap();
    bed.zone.hosts = names(&["shop.dev.example"]);
    assert_eq!(bed.ensure().await, Change::Create);
    bed.expect("shop.dev.example", Kind::A, "NOERROR 127.0.0.1").await;
    bed.expect("shop.dev.example", Kind::Aaaa, "NOERROR").await;
    bed.expect("shop.dev.example", Kind::Https, "NOERROR").await;
    bed.expect("other.dev.example", Kind::A, "NXDOMAIN").await;

    let started = bed.started_at().await;
    let on_host = placement(EdgeMode::HostNetwork);
    let found = names(&["ingress.dev.example", "ingress.elsewhere.org"]);
    let report = sync(&bed.engine, &bed.zone, &on_host, &found).await.unwrap();
    assert_eq!((report.change, report.names), (Change::Names, 2));
    bed.expect("ingress.dev.example", Kind::A, "NOERROR 127.0.0.1").await;
    bed.expect("ingress.elsewhere.org", Kind::A, "REFUSED").await;
    assert_eq!(
        bed.ensure().await,
        Change::Nothing,
        "ensure leaves names of the cluster alone"
    );

    // A name that loko.yaml takes over stays when it is gone from the cluster.
    bed.zone.hosts.extend(names(&["ingress.dev.example"]));
    assert_eq!(bed.ensure().await, Change::Names);
    let report = sync(&bed.engine, &bed.zone, &on_host, &BTreeSet::new()).await.unwrap();
    assert_eq!((report.change, report.names), (Change::Names, 2));
    bed.expect("shop.dev.example", Kind::A, "NOERROR 127.0.0.1").await;
    bed.stays("ingress.dev.example", "NOERROR 127.0.0.1").await;

    bed.zone.hosts = names(&["shop.dev.example"]);
    assert_eq!(bed.ensure().await, Change::Names);
    bed.expect("ingress.dev.example", Kind::A, "NXDOMAIN").await;
    bed.zone.hosts = BTreeSet::new();
    assert_eq!(bed.ensure().await, Change::Names);
    bed.expect("shop.dev.example", Kind::A, "NXDOMAIN").await;
    assert_eq!(bed.started_at().await, started);
    bed.remove().await;
}

/// As a LoKO left it that kept the names of loko.yaml and of the cluster apart, each in one file.
#[tokio::test]
async fn names_of_an_older_layout_are_neither_lost_nor_left_over() {
    let Some(mut bed) = Bed::new("older", 15462).await else {
        return;
    };
    bed.zone.wildcard = false;
    assert_eq!(bed.ensure().await, Change::Create);
    let container = container::name(&bed.zone.environment);
    let older = ["zone", "cluster"];
    let texts = [
        "127.0.0.1 shop.dev.me\n",
        "127.0.0.1 shop.dev.me\n127.0.0.1 found.dev.me\n",
    ];
    let files = older.iter().zip(texts);
    let files: Vec<File> = files
        .map(|(file, text)| File::new(format!("{HOSTS_DIRECTORY}/{file}"), text))
        .collect();
    bed.engine.put_files(&container, &files).await.unwrap();
    let remove_new = ExecSpec {
        user: Some("0".into()),
        ..ExecSpec::new(["sh", "-c", &format!("rm {HOSTS_DIRECTORY}/names-*")])
    };
    bed.engine.exec_ok(&container, &remove_new).await.unwrap();
    bed.expect("found.dev.me", Kind::A, "NOERROR 127.0.0.1").await;

    assert_eq!(bed.ensure().await, Change::Restart);
    for name in ["shop.dev.me", "found.dev.me"] {
        bed.stays(name, "NOERROR 127.0.0.1").await;
    }
    let found = facts(&bed.engine, &bed.zone.environment).await.unwrap();
    assert_eq!(found.cluster_names(), names(&["found.dev.me", "shop.dev.me"]));
    let left = older.map(|file| found.hosts.contains_key(file));
    assert_eq!(left, [false, false]);
    assert_eq!(bed.ensure().await, Change::Nothing);

    let on_host = placement(EdgeMode::HostNetwork);
    sync(&bed.engine, &bed.zone, &on_host, &BTreeSet::new()).await.unwrap();
    bed.expect("found.dev.me", Kind::A, "NXDOMAIN").await;
    bed.stays("shop.dev.me", "NOERROR 127.0.0.1").await;
    bed.remove().await;
}

#[tokio::test]
async fn an_ipv6_address_is_answered_to_aaaa_alone() {
    let Some(mut bed) = Bed::new("six", 15455).await else {
        return;
    };
    bed.zone.address = "::1".parse().unwrap();
    assert_eq!(bed.ensure().await, Change::Create);
    assert_eq!(short(&bed.ask("x.dev.me", Kind::Aaaa).await), "NOERROR ::1");
    assert_eq!(short(&bed.ask("x.dev.me", Kind::A).await), "NOERROR");
    bed.remove().await;
}

#[tokio::test]
async fn a_stopped_one_is_started_with_what_changed_meanwhile() {
    let Some(mut bed) = Bed::new("stop", 15456).await else {
        return;
    };
    assert_eq!(bed.ensure().await, Change::Create);
    let name = container::name(&bed.zone.environment);
    bed.engine.stop_container(&name, 2).await.unwrap();
    bed.zone.wildcard = false;
    bed.zone.hosts = names(&["late.dev.me"]);
    assert_eq!(bed.ensure().await, Change::Start);
    bed.expect("late.dev.me", Kind::A, "NOERROR 127.0.0.1").await;
    bed.expect("shop.dev.me", Kind::A, "NXDOMAIN").await;
    assert_eq!(bed.ensure().await, Change::Nothing);
    bed.remove().await;
}

#[tokio::test]
async fn a_published_one_is_on_its_address_alone() {
    let Some(mut bed) = Bed::new("pub", 15457).await else {
        return;
    };
    let labels = loko_engine::labels::of(Some("dnstest-pub"), "network");
    let network = NetworkSpec {
        name: "loko-dnstest".into(),
        subnet: "10.213.77.0/24".parse().unwrap(),
        ip_range: "10.213.77.0/25".parse().unwrap(),
        mtu: None,
        labels,
    };
    bed.engine.remove_network(&network.name).await.unwrap();
    bed.engine.create_network(&network).await.unwrap();
    bed.zone.address = IpAddr::from([127, 0, 0, 1]);
    let published = placement(EdgeMode::Published);
    let report = ensure(&bed.engine, &bed.zone, &published).await.unwrap();
    assert_eq!((report.change, report.answers), (Change::Create, Some(true)));
    assert_eq!(short(&bed.ask("x.dev.me", Kind::A).await), "NOERROR 127.0.0.1");
    assert_eq!(listeners(15457), ["udp 0100007F", "tcp 0100007F"]);
    let again = ensure(&bed.engine, &bed.zone, &published).await.unwrap();
    assert_eq!(again.change, Change::Nothing);
    let engine = bed.engine.clone();
    bed.remove().await;
    engine.remove_network(&network.name).await.unwrap();
}

#[tokio::test]
async fn a_port_is_found_once_and_kept_and_environments_do_not_share_it() {
    let Some(bed) = Bed::new("port", 15458).await else {
        return;
    };
    let (engine, zone) = (&bed.engine, &bed.zone);
    let fixed = AutoPort::Fixed(zone.port);
    let choose =
        |environment: EnvName, wanted| async move { choose_port(engine, &environment, zone.address, wanted).await };
    assert_eq!(choose(zone.environment.clone(), fixed).await.unwrap(), zone.port);
    assert_eq!(bed.ensure().await, Change::Create);
    assert_eq!(
        choose(zone.environment.clone(), AutoPort::Auto).await.unwrap(),
        zone.port
    );
    assert_eq!(choose(zone.environment.clone(), fixed).await.unwrap(), zone.port);
    let other: EnvName = "dnstest-port-b".parse().unwrap();
    let taken = choose(other.clone(), fixed).await.unwrap_err();
    assert!(matches!(taken, DnsError::PortInUse { port, .. } if port == zone.port));
    let auto = choose(other, AutoPort::Auto).await.unwrap();
    assert!(auto != zone.port && is_free(zone.address, auto));
    bed.remove().await;
}

#[tokio::test]
async fn what_cannot_start_says_why_and_what_is_not_ours_stays() {
    let Some(mut bed) = Bed::new("bad", 15459).await else {
        return;
    };
    bed.zone.address = [192, 0, 2, 1].into();
    let on_host = placement(EdgeMode::HostNetwork);
    let error = ensure(&bed.engine, &bed.zone, &on_host).await.unwrap_err();
    assert!(
        matches!(&error, DnsError::NotRunning { log, .. } if log.contains("Cannot assign requested address")),
        "{error}"
    );
    // The engine starts it again and again meanwhile: that is no success.
    let again = ensure(&bed.engine, &bed.zone, &on_host).await.unwrap_err();
    assert!(matches!(again, DnsError::NotRunning { .. }), "{again}");
    remove(&bed.engine, &bed.zone.environment).await.unwrap();

    let mut foreign = container::spec(&bed.zone, &on_host);
    foreign.labels = BTreeMap::from([("dev.loko.test".into(), "dns".into())]);
    bed.engine.create_container(&foreign).await.unwrap();
    let error = ensure(&bed.engine, &bed.zone, &on_host).await.unwrap_err();
    assert!(matches!(error, DnsError::Engine(EngineError::Foreign { .. })));
    remove(&bed.engine, &bed.zone.environment).await.unwrap();
    assert!(
        facts(&bed.engine, &bed.zone.environment)
            .await
            .unwrap()
            .container
            .is_some()
    );
    bed.engine.remove_container(&foreign.name).await.unwrap();
    bed.engine
        .remove_volume(&container::volume(&bed.zone.environment))
        .await
        .unwrap();
}

#[tokio::test]
async fn the_checks_find_what_runs_and_what_does_not() {
    let Some(bed) = Bed::new("check", 15460).await else {
        return;
    };
    assert_eq!(bed.ensure().await, Change::Create);
    // A host with nothing on it: this machine's own resolver is not to be judged here.
    let host = Host::at("/nonexistent", "/nonexistent");
    let found = gather(&bed.engine, &bed.zone, &host).await.unwrap();
    let wrong = |subject: Subject, checks: Vec<Check>| {
        let failed = checks
            .into_iter()
            .filter(move |c| c.subject == subject && c.verdict == Verdict::Failed);
        failed.map(|check| check.name).collect::<Vec<_>>()
    };
    for subject in [Subject::Container, Subject::Port, Subject::Server] {
        assert_eq!(wrong(subject, judge(&bed.zone, &found)), [""; 0]);
    }
    let name = container::name(&bed.zone.environment);
    bed.engine.stop_container(&name, 2).await.unwrap();
    let found = gather(&bed.engine, &bed.zone, &host).await.unwrap();
    let checks = judge(&bed.zone, &found);
    assert_eq!(wrong(Subject::Container, checks.clone()), [name]);
    assert_eq!(wrong(Subject::Server, checks).len(), questions(&bed.zone).len());
    bed.remove().await;
}

/// dnsperf asks about names for as long as it lives, and counts what it is answered.
struct Dnsperf(std::process::Child);

impl Dnsperf {
    /// None, and a word of it, where it is not installed.
    fn start(server: std::net::SocketAddr, questions: &std::path::Path) -> Option<Self> {
        let child = std::process::Command::new("dnsperf")
            .args(["-s", &server.ip().to_string(), "-p", &server.port().to_string(), "-d"])
            .arg(questions)
            // No faster than that: a lost answer should be dnsmasq's, and not that of a machine at its limit.
            .args(["-Q", "1000", "-c", "8", "-l", "100000"])
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::null())
            .spawn();
        match child {
            Ok(child) => Some(Self(child)),
            Err(error) => {
                println!("skipped: dnsperf does not start: {error}");
                None
            }
        }
    }

    /// How many it was answered, how many were lost, and its line of response codes. A question that is under way at the end
    /// is neither.
    fn end(self) -> (u64, u64, String) {
        let interrupt = std::process::Command::new("kill")
            .args(["-INT", &self.0.id().to_string()])
            .status();
        assert!(interrupt.unwrap().success());
        let said = String::from_utf8(self.0.wait_with_output().unwrap().stdout).unwrap();
        let line = |key: &str| {
            let line = said.lines().find_map(|line| line.trim().strip_prefix(key));
            line.unwrap_or_else(|| panic!("no {key} in {said}")).trim().to_owned()
        };
        let number = |key: &str| line(key).split(' ').next().unwrap().parse().unwrap();
        (
            number("Queries completed:"),
            number("Queries lost:"),
            line("Response codes:"),
        )
    }
}

/// Names come and go one by one, by `sync`, while dnsperf and a client that compares each answer ask about others.
/// `LOKO_DNS_NAMES` says how many; few, unless it is there.
#[tokio::test]
async fn names_come_and_go_while_others_are_asked() {
    let Some(mut bed) = Bed::new("churn", 15461).await else {
        return;
    };
    let count: usize = std::env::var("LOKO_DNS_NAMES").map_or(20, |count| count.parse().unwrap());
    bed.zone.wildcard = false;
    bed.zone.hosts = (0..500).map(|n| format!("steady{n}.dev.me").parse().unwrap()).collect();
    assert_eq!(bed.ensure().await, Change::Create);
    bed.expect("steady499.dev.me", Kind::A, "NOERROR 127.0.0.1").await;
    let server = bed.zone.server();
    let questions = tempfile::NamedTempFile::new().unwrap();
    let lines: Vec<String> = bed.zone.hosts.iter().map(|host| format!("{host} A\n")).collect();
    fs_err::write(questions.path(), lines.concat()).unwrap();
    let dnsperf = Dnsperf::start(server, questions.path());
    let done = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let until = std::sync::Arc::clone(&done);
    let asking = tokio::spawn(async move {
        // One attempt: a lost answer counts.
        let limits = Limits {
            attempts: 1,
            timeout: std::time::Duration::from_secs(5),
            ..Limits::default()
        };
        let (mut asked, mut wrong) = (0, Vec::new());
        while asked < 1000 || !until.load(std::sync::atomic::Ordering::Relaxed) {
            let name = format!("steady{}.dev.me", asked % 500);
            let answer = ask(server, &name, Kind::A, limits).await;
            if answer.as_ref().map(short) != Ok("NOERROR 127.0.0.1".to_owned()) {
                wrong.push(format!("{name}: {answer:?}"));
            }
            asked += 1;
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        }
        (asked, wrong)
    });
    let mut found = BTreeSet::new();
    let on_host = placement(EdgeMode::HostNetwork);
    let started = std::time::Instant::now();
    // Every name is asked for where there are few; where there are many, one of a hundred.
    let every = count.div_ceil(100);
    let mut took = Vec::new();
    for number in 0..count {
        let began = std::time::Instant::now();
        found.insert(format!("new{number}.dev.me").parse().unwrap());
        sync(&bed.engine, &bed.zone, &on_host, &found).await.unwrap();
        took.push(began.elapsed());
        if number % every == 0 {
            let name = format!("new{number}.dev.me");
            bed.expect(&name, Kind::A, "NOERROR 127.0.0.1").await;
        }
    }
    let mut number = 0;
    while let Some(gone) = found.pop_first() {
        sync(&bed.engine, &bed.zone, &on_host, &found).await.unwrap();
        if number % every == 0 {
            bed.expect(gone.as_str(), Kind::A, "NXDOMAIN").await;
        }
        number += 1;
    }
    let seconds = started.elapsed().as_secs_f64();
    done.store(true, std::sync::atomic::Ordering::Relaxed);
    let (asked, wrong) = asking.await.unwrap();
    assert_eq!(wrong, [""; 0], "lost or wrong");
    println!("{} changes in {seconds:.0} s; {asked} answers compared", 2 * count);
    // With few names in it and with many: what grows with the zone shows.
    let median = |mut some: Vec<std::time::Duration>| {
        some.sort_unstable();
        some[some.len() / 2]
    };
    let few = took[..count.div_ceil(20)].to_vec();
    let many = took[count - count.div_ceil(20)..].to_vec();
    println!(
        "a change: {:?} with few names, {:?} with {count}",
        median(few),
        median(many)
    );
    if let Some((answered, lost, codes)) = dnsperf.map(Dnsperf::end) {
        println!("dnsperf: {answered} answered, {lost} lost, {codes}");
        assert_eq!(lost, 0);
        assert_eq!(codes, format!("NOERROR {answered} (100.00%)"));
    }
    bed.remove().await;
}
