//! What is done to a host's resolver, on hosts that boot systemd: containers of the test bed's images `testbed/lab-*`.
//!
//! ```text
//! this test ─ copies itself into ─→ laboratory: systemd, a resolver, our dnsmasq ─ other names ─→ upstream (records them)
//!     └────── runs its own test `inside` there, which sets, unsets, or stops in between
//! ```
#![cfg(all(feature = "driver", target_os = "linux"))]
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "helpers of tests fail and say why they were skipped"
)]

use std::collections::BTreeMap;
use std::num::NonZeroU16;
use std::time::Duration;

use loko_dns::Zone;
use loko_dns::render::{HOSTS_DIRECTORY, Listen, README, conf};
use loko_dns::resolver::host::{Host, Privilege};
use loko_dns::resolver::{set, unset};
use loko_engine::driver::{ExecSpec, File};
use loko_engine::{ContainerSpec, Engine, NetworkAttachment, NetworkSpec};

const NETWORK: &str = "loko-dnstest-lab";
const UPSTREAM_ADDRESS: &str = "203.0.113.9";
const INSIDE: &str = "LOKO_LABORATORY";

fn zone() -> Zone {
    Zone {
        environment: "dev".parse().unwrap(),
        domain: "dev.example".parse().unwrap(),
        address: [127, 0, 0, 1].into(),
        wildcard: true,
        hosts: ["shop.dev.example".parse().unwrap(), "cr.dev.example".parse().unwrap()].into(),
        port: NonZeroU16::new(5453).unwrap(),
    }
}

/// Runs in the laboratory: `set`, `unset`, or with a number only that many actions. Prints the way and what was done.
#[tokio::test]
async fn inside() {
    let Ok(task) = std::env::var(INSIDE) else {
        return;
    };
    let host = Host::this();
    let (what, count) = task.split_once(' ').unwrap_or((&task, ""));
    let plan = if what == "set" {
        set(&zone(), &host.facts(&zone()).await).unwrap()
    } else {
        unset(&zone().environment, &host.files(Some(&zone().environment)).await)
    };
    let count = count.parse().unwrap_or(plan.actions.len());
    host.apply(&plan.actions[..count], Privilege::Own).await.unwrap();
    println!("outcome: {:?} {}", plan.backend, plan.actions.len());
}

struct Laboratory {
    engine: Engine,
    host: String,
    upstream: String,
}

impl Laboratory {
    /// `setup` is run in a host that has booted; `$UPSTREAM` in it is the upstream's address. `number` tells the
    /// laboratories of tests that run at once apart.
    async fn new(image: &str, number: u8, setup: &str) -> Option<Self> {
        let variables: BTreeMap<String, String> = std::env::vars().collect();
        let endpoint = loko_engine::endpoint::resolve(&variables, None);
        let Ok(engine) = Engine::connect(&endpoint).await else {
            println!("skipped: no engine answers");
            return None;
        };
        for image in [image, "dockurr/dnsmasq:2.91"] {
            if engine.image(image).await.unwrap().is_none() {
                println!("skipped: the engine does not hold {image}");
                return None;
            }
        }
        let laboratory = Self {
            engine,
            host: format!("{NETWORK}{number}"),
            upstream: format!("{NETWORK}{number}-upstream"),
        };
        laboratory.clean().await;
        laboratory.start_upstream(number).await;
        laboratory.boot(image).await;
        laboratory
            .run(&setup.replace("$UPSTREAM", &upstream_address(number)))
            .await;
        let mut ours = conf(&zone(), Listen::Address);
        ours += "user=root\npid-file=\nlog-queries\nlog-facility=/tmp/ours.log\n";
        let files = [
            File::new("/root/dnsmasq.conf", ours),
            File::new(format!("{HOSTS_DIRECTORY}/{}", README.0), README.1),
        ];
        laboratory.engine.put_files(&laboratory.host, &files).await.unwrap();
        laboratory.run("dnsmasq --conf-file=/root/dnsmasq.conf").await;
        Some(laboratory)
    }

    async fn clean(&self) {
        self.engine.remove_container(&self.host).await.unwrap();
        self.engine.remove_container(&self.upstream).await.unwrap();
        self.engine.remove_network(&self.host).await.unwrap();
    }

    /// Answers every name, and records it.
    async fn start_upstream(&self, number: u8) {
        let labels = loko_engine::labels::of(Some("dnstest-lab"), "laboratory");
        let network = NetworkSpec {
            name: self.host.clone(),
            subnet: format!("10.213.{number}.0/24").parse().unwrap(),
            ip_range: format!("10.213.{number}.0/25").parse().unwrap(),
            mtu: None,
            labels: labels.clone(),
        };
        self.engine.create_network(&network).await.unwrap();
        let command = [
            "--keep-in-foreground",
            "--no-resolv",
            "--no-hosts",
            "--log-queries",
            "--log-facility=-",
        ];
        let spec = ContainerSpec {
            name: self.upstream.clone(),
            image: "dockurr/dnsmasq:2.91".into(),
            entrypoint: Some(vec!["dnsmasq".into()]),
            command: Some(
                command
                    .into_iter()
                    .map(str::to_owned)
                    .chain([format!("--address=/#/{UPSTREAM_ADDRESS}")])
                    .collect(),
            ),
            labels,
            network: NetworkAttachment::Named {
                name: self.host.clone(),
                address: Some(upstream_address(number).parse().unwrap()),
            },
            ..ContainerSpec::default()
        };
        self.engine.ensure_container(&spec, || async { Ok(()) }).await.unwrap();
    }

    async fn boot(&self, image: &str) {
        let spec = ContainerSpec {
            name: self.host.clone(),
            image: image.to_owned(),
            labels: loko_engine::labels::of(Some("dnstest-lab"), "laboratory"),
            network: NetworkAttachment::Named {
                name: self.host.clone(),
                address: None,
            },
            tmpfs: vec!["/run".into(), "/tmp".into()],
            privileged: true,
            private_cgroup_namespace: true,
            ..ContainerSpec::default()
        };
        self.engine.create_container(&spec).await.unwrap();
        let mut own = File::new("/laboratory", fs_err::read(std::env::current_exe().unwrap()).unwrap());
        own.mode = 0o755;
        self.engine.put_files(&self.host, &[own]).await.unwrap();
        self.start().await;
    }

    async fn start(&self) {
        self.engine.start_container(&self.host).await.unwrap();
        for _ in 0..100 {
            let state = self
                .engine
                .exec(&self.host, &ExecSpec::new(["systemctl", "is-system-running"]))
                .await;
            if state.is_ok_and(|state| matches!(state.text().as_str(), "running" | "degraded")) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("{} does not boot", self.host);
    }

    async fn run(&self, script: &str) -> String {
        let ended = self
            .engine
            .exec(&self.host, &ExecSpec::new(["sh", "-ec", script]))
            .await
            .unwrap();
        assert_eq!(
            ended.code,
            0,
            "{script}: {}{}",
            ended.text(),
            String::from_utf8_lossy(&ended.stderr)
        );
        ended.text()
    }

    /// Runs [`inside`] in the laboratory; gives the way that was chosen and how many actions there were.
    async fn task(&self, task: &str) -> (String, usize) {
        let said = self
            .run(&format!("{INSIDE}='{task}' /laboratory --exact inside --nocapture"))
            .await;
        let outcome = said.lines().find_map(|line| line.split_once("outcome: ")).unwrap().1;
        let (backend, actions) = outcome.rsplit_once(' ').unwrap();
        (backend.to_owned(), actions.parse().unwrap())
    }

    /// By getaddrinfo.
    async fn resolves(&self, name: &str) -> String {
        self.run(&format!("getent ahostsv4 {name} | head -1 | cut -d' ' -f1"))
            .await
    }

    /// Every file and link below /etc.
    async fn fingerprint(&self) -> String {
        let volatile = "-not -path '/etc/resolv.conf*' -not -name 'machine-id' -not -name '.updated'";
        self.run(&format!(
            "find /etc -type f {volatile} | LC_ALL=C sort | xargs sha256sum; find /etc -type l -printf '%p %l\\n' | LC_ALL=C sort; cat /etc/resolv.conf"
        ))
        .await
    }

    async fn checks(&self, expected: &str, wildcard: bool) {
        let foreign = format!("www{}.outside.example", self.host.len());
        self.expect(&foreign, UPSTREAM_ADDRESS).await;
        let before = self.fingerprint().await;
        let (backend, actions) = self.task("set").await;
        assert_eq!(backend, format!("Some({expected})"));
        self.works(wildcard).await;
        let after = self.fingerprint().await;
        assert_eq!(self.task("set").await.1, 0, "a second run has nothing to do");

        // Only the domain's own names came to our dnsmasq.
        let asked = self
            .run("grep 'query\\[' /tmp/ours.log | grep -v 'dev.example from' || true")
            .await;
        assert_eq!(asked, "", "our dnsmasq was asked for others' names");
        assert_ne!(self.run("grep -c 'query\\[' /tmp/ours.log || true").await, "");

        self.task("unset").await;
        assert_eq!(self.fingerprint().await, before, "taken back byte by byte");
        assert_eq!(
            self.resolves("shop.dev.example").await,
            UPSTREAM_ADDRESS,
            "its names go elsewhere again"
        );
        assert_eq!(self.task("unset").await.1, 0);

        for count in 0..actions {
            self.task(&format!("set {count}")).await;
            self.task("set").await;
            assert_eq!(self.fingerprint().await, after, "killed after {count}");
            self.works(wildcard).await;
            let undo = count.min(2);
            self.task(&format!("unset {undo}")).await;
            self.task("unset").await;
            assert_eq!(self.fingerprint().await, before, "killed after {undo} of taking back");
        }
    }

    /// Asks until the answer is as expected: programs need a moment to read their files again.
    async fn expect(&self, name: &str, address: &str) {
        let mut last = String::new();
        for _ in 0..50 {
            last = self.resolves(name).await;
            if last == address {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("{}: {name} is {last}, not {address}", self.host);
    }

    async fn works(&self, wildcard: bool) {
        self.expect("shop.dev.example", "127.0.0.1").await;
        if wildcard {
            self.expect("any.thing.dev.example", "127.0.0.1").await;
        }
        self.expect("other.outside.example", UPSTREAM_ADDRESS).await;
        self.expect("dev.example.outside.example", UPSTREAM_ADDRESS).await;
    }
}

/// In the half of the network that the engine does not give out.
fn upstream_address(number: u8) -> String {
    format!("10.213.{number}.200")
}

const RESOLVED: &str = "umount /etc/resolv.conf
    ln -sf ../run/systemd/resolve/stub-resolv.conf /etc/resolv.conf
    systemctl start systemd-resolved
    resolvectl dns eth0 $UPSTREAM
    resolvectl domain eth0 lan.example
    resolvectl default-route eth0 yes";

#[tokio::test]
async fn systemd_resolved() {
    let Some(laboratory) = Laboratory::new("testbed/lab-resolved:1", 71, RESOLVED).await else {
        return;
    };
    laboratory.checks("ResolvedLink", true).await;
    // The search list stays, and so does the way of others through a restart of those who might take it.
    laboratory.task("set").await;
    let domains = laboratory.run("resolvectl domain eth0").await;
    assert!(domains.ends_with(": lan.example"), "{domains}");
    laboratory
        .run("systemctl restart systemd-resolved && systemctl start NetworkManager && sleep 1")
        .await;
    laboratory.works(true).await;
    // It is there again after a boot, before anybody calls us.
    laboratory.engine.stop_container(&laboratory.host, 10).await.unwrap();
    laboratory.start().await;
    let links = laboratory
        .run("systemctl start systemd-resolved; systemctl restart loko-dev-dns; resolvectl domain")
        .await;
    assert!(links.contains("~dev.example"), "{links}");
    laboratory.clean().await;
}

#[tokio::test]
async fn network_manager_with_its_own_dnsmasq() {
    // Without udev, NetworkManager manages links only where /sys cannot be written.
    let setup = "umount /etc/resolv.conf
        mount -o remount,ro /sys
        printf '[main]\\ndns=dnsmasq\\nrc-manager=file\\n' > /etc/NetworkManager/conf.d/lab.conf
        systemctl start NetworkManager
        address=$(ip -4 -oneline address show eth0 | awk '{print $4}')
        nmcli connection add type ethernet con-name lab ifname eth0 ipv4.method manual ipv4.addresses $address \\
            ipv4.dns $UPSTREAM ipv6.method disabled
        nmcli connection up lab";
    let Some(laboratory) = Laboratory::new("testbed/lab-dnsmasq:1", 72, setup).await else {
        return;
    };
    laboratory.checks("NetworkManager", true).await;
    laboratory.clean().await;
}

#[tokio::test]
async fn openresolv_with_a_dnsmasq_beside_it() {
    let setup = "umount /etc/resolv.conf
        printf 'name_servers=127.0.0.1\\n' > /etc/resolvconf.conf
        printf 'no-resolv\\nserver=$UPSTREAM\\nlisten-address=127.0.0.1\\nbind-interfaces\\n' > /etc/dnsmasq.d/lab.conf
        echo 'nameserver $UPSTREAM' | resolvconf -a eth0
        mkdir -p /etc/systemd/system/dnsmasq.service.d
        printf '[Unit]\\nStartLimitIntervalSec=0\\n' > /etc/systemd/system/dnsmasq.service.d/lab.conf
        systemctl daemon-reload
        systemctl start dnsmasq
        printf '# Generated by resolvconf\\nnameserver 127.0.0.1\\n' > /etc/resolv.conf";
    let Some(laboratory) = Laboratory::new("testbed/lab-dnsmasq:1", 73, setup).await else {
        return;
    };
    laboratory.checks("Dnsmasq", true).await;
    laboratory.clean().await;
}

#[tokio::test]
async fn a_plain_resolv_conf() {
    let setup = "umount /etc/resolv.conf; echo 'nameserver $UPSTREAM' > /etc/resolv.conf";
    let Some(laboratory) = Laboratory::new("testbed/lab-dnsmasq:1", 74, setup).await else {
        return;
    };
    laboratory.checks("Hosts", false).await;
    laboratory.clean().await;
}
