use insta::assert_yaml_snapshot;
use loko_engine::labels;

use super::*;
use crate::samples::{names, placement, port, zone};

fn answer(code: Code, addresses: &[IpAddr]) -> Answer {
    Answer {
        code,
        addresses: addresses.iter().copied().collect(),
        records: addresses.len(),
        ttl: Some(5),
        tcp: false,
    }
}

/// Everything as it should be.
fn healthy(zone: &Zone) -> CheckFacts {
    let spec = crate::container::spec(zone, &placement(loko_engine::EdgeMode::HostNetwork));
    let mut marked = spec.labels.clone();
    marked.insert(labels::SPEC.into(), spec.hash());
    let answers = questions(zone).into_iter().map(|(name, kind, expected)| {
        let said = match expected {
            Expected::Address => answer(Code::NoError, &[zone.address]),
            Expected::Empty => answer(Code::NoError, &[]),
            Expected::NoSuchName => answer(Code::NxDomain, &[]),
            Expected::Refused => answer(Code::Refused, &[]),
        };
        ((name, kind), Ok(said))
    });
    let found: Lookup = Ok(BTreeSet::from([zone.address]));
    let mut resolver = resolver::Facts {
        os: "linux".into(),
        resolved: Some(resolver::Version { major: 258, minor: 0 }),
        resolv_conf: Some("nameserver 127.0.0.53\n".into()),
        resolves: Some(true),
        ..resolver::Facts::default()
    };
    for action in resolver::set(zone, &resolver).unwrap().actions {
        if let Action::Write { path, contents } = action {
            resolver.written.insert(path, contents);
        }
    }
    let traefik = IpAddr::from([10, 96, 0, 20]);
    CheckFacts {
        container: Some(ContainerFacts {
            id: "1".into(),
            name: spec.name,
            image: spec.image,
            image_id: "sha256:0".into(),
            state: ContainerState::Running,
            started_at: String::new(),
            labels: marked,
            addresses: BTreeMap::new(),
            ports: Vec::new(),
        }),
        log: String::new(),
        answers: answers.collect(),
        host: host_names(zone).into_iter().map(|name| (name, found.clone())).collect(),
        resolver,
        pod: BTreeMap::from([("shop.dev.me".into(), Ok(BTreeSet::from([traefik])))]),
        traefik: Some(traefik),
    }
}

fn failures(zone: &Zone, facts: &CheckFacts) -> Vec<Check> {
    judge(zone, facts)
        .into_iter()
        .filter(|check| check.verdict != Verdict::Ok)
        .collect()
}

#[test]
fn a_healthy_environment_has_nothing_to_say() {
    for wildcard in [true, false] {
        let zone = Zone { wildcard, ..zone() };
        let facts = healthy(&zone);
        assert_eq!(failures(&zone, &facts), []);
        assert!(!has_failed(&judge(&zone, &facts)));
    }
    assert_yaml_snapshot!(judge(&zone(), &healthy(&zone())));
}

#[test]
fn nothing_there_at_all() {
    let zone = Zone {
        hosts: names(&["shop.dev.me"]),
        ..zone()
    };
    let mut facts = healthy(&zone);
    facts.container = None;
    facts.resolver.written.clear();
    for answer in facts.answers.values_mut() {
        *answer = Err(ProbeError::Closed);
    }
    for lookup in facts.host.values_mut() {
        *lookup = Err("Name or service not known".into());
    }
    assert_yaml_snapshot!(failures(&zone, &facts));
    assert!(has_failed(&judge(&zone, &facts)));
}

#[test]
fn a_container_that_cannot_stay_up_says_why() {
    for (log, remedy) in [
        (
            "failed to create listening socket for 127.0.0.1: Address already in use",
            "ss -lnptu",
        ),
        (
            "failed to create listening socket for 192.0.2.1: Cannot assign requested address",
            "network.ip",
        ),
        (
            "failed to create inotify: No file descriptors available",
            "max_user_instances",
        ),
        ("something else", "loko logs dns"),
    ] {
        let mut facts = healthy(&zone());
        facts.log = log.into();
        facts.container.as_mut().unwrap().state = ContainerState::Restarting;
        let check = &failures(&zone(), &facts)[0];
        assert_eq!(check.cause.as_deref(), Some(log));
        assert!(check.remedy.as_ref().unwrap().contains(remedy), "{check:?}");
    }
}

#[test]
fn a_resolver_without_the_domain_and_one_that_was_taken_over_are_told_apart() {
    let mut facts = healthy(&zone());
    facts
        .host
        .insert("shop.dev.me".into(), Err("Name or service not known".into()));
    let taken_over = failures(&zone(), &facts);
    assert_eq!(taken_over.len(), 1);
    assert!(taken_over[0].remedy.as_ref().unwrap().contains("VPN"));
    facts.resolver.written.clear();
    let missing = failures(&zone(), &facts);
    assert_eq!(missing[0].subject, Subject::Resolver);
    assert!(
        missing[0]
            .remedy
            .as_ref()
            .unwrap()
            .contains("write /etc/systemd/dns-delegate.d/loko-dev.dns-delegate")
    );
    assert!(missing[1].remedy.as_ref().unwrap().contains("sudo loko dns set"));
}

#[test]
fn a_hosts_file_is_a_warning_where_a_wildcard_is_wanted() {
    let mut facts = healthy(&zone());
    facts.resolver = resolver::Facts {
        os: "linux".into(),
        hosts: Some(resolver::block::set("", &zone())),
        ..resolver::Facts::default()
    };
    facts
        .host
        .insert(unknown_name(&zone()), Err("Name or service not known".into()));
    let checks = failures(&zone(), &facts);
    assert!(
        checks.iter().all(|check| check.verdict == Verdict::Warning),
        "{checks:?}"
    );
    assert_eq!(checks.len(), 2);
}

#[test]
fn wrong_answers_are_found_wherever_they_are() {
    let elsewhere = IpAddr::from([203, 0, 113, 1]);
    let mut facts = healthy(&zone());
    let key = ("shop.dev.me".to_owned(), Kind::A);
    facts.answers.insert(key, Ok(answer(Code::NoError, &[elsewhere])));
    let refused = ("cr.dev.me".to_owned(), Kind::Https);
    facts.answers.insert(refused, Ok(answer(Code::Refused, &[])));
    facts.host.insert("shop.dev.me".into(), Ok(BTreeSet::from([elsewhere])));
    facts
        .host
        .insert("cr.dev.me".into(), Ok(BTreeSet::from([elsewhere, zone().address])));
    facts.pod.insert("shop.dev.me".into(), Ok(BTreeSet::from([elsewhere])));
    let found: Vec<(Subject, Verdict)> = failures(&zone(), &facts)
        .iter()
        .map(|c| (c.subject, c.verdict))
        .collect();
    assert_eq!(
        found,
        [
            (Subject::Server, Verdict::Failed),
            (Subject::Server, Verdict::Failed),
            (Subject::Host, Verdict::Warning),
            (Subject::Host, Verdict::Failed),
            (Subject::Pod, Verdict::Failed),
        ]
    );
}

#[test]
fn another_port_than_that_of_loko_yaml_is_found() {
    let moved = Zone {
        port: port(5454),
        ..zone()
    };
    let facts = healthy(&zone());
    assert!(
        judge(&moved, &facts)
            .iter()
            .any(|c| c.subject == Subject::Port && c.verdict == Verdict::Failed)
    );
}

#[test]
fn the_status_shows_what_is_missing() {
    let facts = healthy(&zone());
    let found = names(&["ingress.dev.me"]);
    let with_all = status(&zone(), facts.container.as_ref(), &found, &facts.resolver);
    assert!(with_all.running && with_all.missing.is_empty());
    let bare = resolver::Facts {
        written: BTreeMap::new(),
        ..facts.resolver
    };
    assert_yaml_snapshot!(status(&zone(), None, &found, &bare));
}
