use super::*;

fn net(text: &str) -> Ipv4Net {
    text.parse().unwrap()
}

fn environment(yaml: &str) -> Environment {
    loko_config::load(yaml, &loko_config::LoadOptions::default())
        .unwrap()
        .environment
}

fn route(interface: &str, text: &str) -> Route {
    Route {
        interface: interface.to_owned(),
        net: net(text),
    }
}

/// A machine as it should be, with an environment that is up.
fn sound() -> Facts {
    let asked: Timestamp = "2026-11-24T10:00:00Z".parse().unwrap();
    let disk = |what, path: &str, free| Disk {
        what,
        path: path.to_owned(),
        free,
        wanted: 8 << 30,
        needed: 1 << 30,
    };
    Facts {
        wanted: Wanted::of(&environment(
            "name: dev\nnetwork: {domain: dev.loko.test}\ncluster: {nodes: {workers: 2}}\n",
        )),
        engine: Ok(EngineView {
            facts: EngineFacts {
                endpoint: "unix:///var/run/docker.sock".to_owned(),
                version: "29.0.0".to_owned(),
                api_version: "1.52".to_owned(),
                operating_system: "Debian GNU/Linux 13 (trixie)".to_owned(),
                cgroup_version: 2,
                cpus: 8,
                memory: 16 << 30,
                time: "2026-11-24T10:00:01.5Z".to_owned(),
                limits: true,
                ..EngineFacts::default()
            },
            mode: EdgeMode::HostNetwork,
            asked,
            network: Some(("3d38dbe1202e5a6b".to_owned(), vec![net("172.28.0.0/24")])),
        }),
        machine: Machine {
            kernel: "6.12".to_owned(),
            inotify: Some(Inotify {
                instances: 512,
                watches: 524_288,
            }),
            memory: Some(Memory {
                total: 16 << 30,
                available: 9 << 30,
            }),
            files_left: Some(1 << 40),
            open_files: Some(20_000),
            unprivileged_port: Some(1024),
            routes: vec![
                route("eth0", "192.168.1.0/24"),
                route("br-3d38dbe1202e", "172.28.0.0/24"),
            ],
            disks: vec![disk("the engine keeps images", "/var/lib/docker", 100 << 30)],
            ipvs: Some(false),
            nftables: Some(true),
        },
        ports: Some(Vec::new()),
        resolver: Some(ResolverView {
            backend: Some(Kind::ResolvedDelegate),
            refused: Vec::new(),
            root: false,
            resolves: Some(true),
        }),
        trust: Some(Trust {
            certificate: Some("/home/u/.loko/ca/ca.crt".to_owned()),
            bundle: Some(("/etc/ssl/certs/ca-certificates.crt".to_owned(), true)),
        }),
        proxies: BTreeMap::new(),
    }
}

fn engine(facts: &mut Facts) -> &mut EngineView {
    facts.engine.as_mut().unwrap()
}

/// The level of the worst finding of a check.
fn level(facts: &Facts, check: &str) -> Option<Level> {
    judge(facts)
        .iter()
        .filter(|finding| finding.check == check)
        .map(|finding| finding.level)
        .max()
}

#[test]
fn a_sound_machine() {
    let findings = judge(&sound());
    insta::assert_snapshot!("sound", text(&findings));
    assert!(refuse(&findings).is_ok());
}

#[test]
fn a_machine_with_every_trouble_at_once() {
    let mut facts = sound();
    let view = engine(&mut facts);
    view.facts.cgroup_version = 1;
    view.facts.memory = 3 << 30;
    view.facts.podman = true;
    view.facts.time = "2026-11-24T08:59:00Z".to_owned();
    facts.machine.inotify = Some(Inotify {
        instances: 128,
        watches: 8192,
    });
    facts.machine.memory = Some(Memory {
        total: 3 << 30,
        available: 200 << 20,
    });
    facts.machine.files_left = Some(100);
    facts.machine.disks[0].free = 300 << 20;
    facts
        .machine
        .routes
        .extend([route("tun0", "172.28.0.128/25"), route("tun0", "10.0.0.0/8")]);
    facts.wanted.kube_proxy = KubeProxyMode::Ipvs;
    facts.ports = Some(vec!["127.0.0.1:80/tcp is in use by nginx (pid 812)".to_owned()]);
    facts.resolver = Some(ResolverView {
        backend: Some(Kind::Hosts),
        refused: Vec::new(),
        root: false,
        resolves: None,
    });
    facts.trust = Some(Trust {
        certificate: Some("/home/u/.loko/ca/ca.crt".to_owned()),
        bundle: Some(("/etc/ssl/certs/ca-certificates.crt".to_owned(), false)),
    });
    facts.proxies = [
        ("HTTPS_PROXY", "http://me:secret@127.0.0.1:3128"),
        ("NO_PROXY", "localhost,.corp"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into();
    let findings = judge(&facts);
    insta::assert_snapshot!("sick", text(&findings));
    assert!(
        !text(&findings).contains("secret"),
        "a proxy's password is nobody's business"
    );
    for finding in findings.iter().filter(|finding| finding.level != Level::Ok) {
        assert!(!finding.why.is_empty() && !finding.remedy.is_empty(), "{finding:?}");
    }
    let error = refuse(&findings).unwrap_err();
    assert!(matches!(error, CliError::Unfit { engine: false, .. }), "{error:?}");
}

#[test]
fn an_engine_that_does_not_answer_is_the_first_thing_told() {
    let mut facts = sound();
    facts.engine = Err("no container engine answers at unix:///var/run/docker.sock".to_owned());
    let findings = judge(&facts);
    assert_eq!((findings[0].check, findings[0].level), ("engine", Level::Failure));
    assert!(matches!(refuse(&findings), Err(CliError::Unfit { engine: true, .. })));
}

#[test]
fn what_does_not_work_with_podman_is_said() {
    let verdict = |version: &str, drivers: &[&str]| {
        let mut facts = sound();
        let engine = &mut engine(&mut facts).facts;
        engine.podman = true;
        version.clone_into(&mut engine.version);
        engine.network_drivers = drivers.iter().map(|driver| (*driver).to_owned()).collect();
        level(&facts, "podman")
    };
    let (netavark, cni) = (["bridge", "macvlan"], ["bridge", "macvlan", "ipvlan"]);
    // As Debian 12 has it, recorded in loko-engine/tests/fixtures.
    assert_eq!(verdict("4.3.1", &cni), Some(Level::Failure));
    assert_eq!(verdict("4.3.1", &netavark), Some(Level::Warning));
    assert_eq!(verdict("4.9.3", &cni), Some(Level::Warning));
    assert_eq!(verdict("5.4.0", &cni), Some(Level::Warning));
    let mut facts = sound();
    let podman = &mut engine(&mut facts).facts;
    (podman.podman, podman.version) = (true, "4.3.1".to_owned());
    podman.network_drivers = vec!["ipvlan".to_owned()];
    let CliError::Unfit { findings, .. } = refuse(&judge(&facts)).unwrap_err() else {
        panic!("a machine that is unfit");
    };
    assert!(
        findings[0].contains("Podman 4.3.1 makes networks with CNI"),
        "{findings:?}"
    );
}

#[test]
fn each_limit_has_its_edge() {
    type Change<'a> = &'a dyn Fn(&mut Facts);
    let with = |change: &dyn Fn(&mut Facts)| {
        let mut facts = sound();
        change(&mut facts);
        facts
    };
    let cases: [(&str, Change<'_>, Level); 15] = [
        (
            "engine",
            &|f| engine(f).facts.api_version = "1.40".to_owned(),
            Level::Failure,
        ),
        (
            "engine",
            &|f| engine(f).facts.api_version = "1.41".to_owned(),
            Level::Ok,
        ),
        ("memory", &|f| engine(f).facts.memory = 1 << 30, Level::Failure),
        ("memory", &|f| engine(f).facts.memory = 2 << 30, Level::Warning),
        ("memory", &|f| engine(f).facts.memory = 3 << 30, Level::Ok),
        (
            "clock",
            &|f| engine(f).facts.time = "2026-11-24T10:00:11Z".to_owned(),
            Level::Warning,
        ),
        (
            "clock",
            &|f| engine(f).facts.time = "2026-11-24T09:55:00Z".to_owned(),
            Level::Failure,
        ),
        ("disk", &|f| f.machine.disks[0].free = 8 << 30, Level::Ok),
        ("disk", &|f| f.machine.disks[0].free = 1 << 30, Level::Warning),
        ("files", &|f| f.machine.open_files = Some(256), Level::Warning),
        (
            "kube-proxy",
            &|f| f.wanted.kube_proxy = KubeProxyMode::Nftables,
            Level::Ok,
        ),
        (
            "kube-proxy",
            &|f| f.wanted.kube_proxy = KubeProxyMode::Ipvs,
            Level::Failure,
        ),
        (
            "subnets",
            &|f| f.machine.routes.push(route("tun0", "10.96.12.0/24")),
            Level::Warning,
        ),
        (
            "subnets",
            &|f| f.machine.routes.push(route("tun0", "172.28.0.0/24")),
            Level::Failure,
        ),
        (
            "subnets",
            &|f| f.machine.routes.push(route("tun0", "172.16.0.0/12")),
            Level::Warning,
        ),
    ];
    for (index, (check, change, expected)) in cases.into_iter().enumerate() {
        let facts = with(change);
        assert_eq!(
            level(&facts, check),
            Some(expected),
            "case {index}: {:#?}",
            judge(&facts)
        );
    }
}

#[test]
fn without_root_it_needs_delegation_and_a_port_that_it_may_bind() {
    let mut facts = sound();
    let view = engine(&mut facts);
    view.facts.rootless = true;
    view.mode = EdgeMode::Published;
    assert_eq!(level(&facts, "rootless"), Some(Level::Ok));
    assert_eq!(level(&facts, "privileged-ports"), Some(Level::Failure));
    facts.machine.unprivileged_port = Some(80);
    assert_eq!(level(&facts, "privileged-ports"), None);
    engine(&mut facts).facts.limits = false;
    assert_eq!(level(&facts, "rootless"), Some(Level::Failure));
    engine(&mut facts).facts.cgroup_version = 1;
    assert_eq!(level(&facts, "rootless"), Some(Level::Failure));
}

#[test]
fn a_machine_of_the_engines_own_is_not_judged_by_this_ones_kernel() {
    let mut facts = sound();
    engine(&mut facts).mode = EdgeMode::Published;
    facts.machine.inotify = Some(Inotify {
        instances: 1,
        watches: 1,
    });
    assert_eq!(level(&facts, "inotify"), None);
}

#[test]
fn no_proxy_spares_the_domain_by_itself_or_a_parent() {
    let of = |list: &str| {
        let mut facts = sound();
        facts.proxies = [("HTTP_PROXY", "http://proxy.corp:3128"), ("NO_PROXY", list)]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into();
        level(&facts, "proxies")
    };
    for list in [
        "dev.loko.test",
        ".dev.loko.test",
        "localhost, .loko.test",
        "*.loko.test",
        "*",
    ] {
        assert_eq!(of(list), Some(Level::Ok), "{list}");
    }
    for list in ["", "other.test", "ko.test", "web.dev.loko.test"] {
        assert_eq!(of(list), Some(Level::Warning), "{list}");
    }
}
