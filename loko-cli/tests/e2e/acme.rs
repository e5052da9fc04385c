//! Certificates for real names, from an ACME server of our own: pebble, and a name server that leads every name to us.

use std::time::Duration;

use jiff::Timestamp;
use loko_cluster::certificates::{Authority, Names};
use serde_json::json;

use crate::environment::Environment;
use crate::run::{Run, Running, eventually};
use crate::suite::Suite;
use crate::{Test, Topic};

pub(crate) const TOPIC: Topic = Topic {
    name: "acme",
    tests: &[
        Test("a_certificate_is_got_by_the_tls_challenge", NEEDS, by_tls),
        Test("a_certificate_is_got_by_the_http_challenge", NEEDS, by_http),
    ],
};

const NEEDS: &[&str] = &["pebble", "pebble-challtestsrv", "curl", "dig"];
/// Where the ACME server and its name server listen, at the address of this host that pods reach.
const DIRECTORY_PORT: u16 = 14000;
const ROOTS_PORT: u16 = 15000;
const NAMES_PORT: u16 = 14053;
const NAMES_SETTINGS_PORT: u16 = 14055;

/// A program that is ended with this.
struct Server(Option<Running>);

impl Server {
    /// Starts it, and waits until it says that it is there.
    #[track_caller]
    fn start(run: Run, says: &str) -> Self {
        let server = run.start();
        server.writes(Duration::from_mins(1), says, |line| line.contains(says));
        Self(Some(server))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(server) = self.0.take() {
            server.kill();
        }
    }
}

/// An ACME server whose own certificate is signed by an authority of its own, while it signs others by another.
struct Acme {
    address: String,
    /// Who signed the server's own certificate.
    authority_pem: String,
    _servers: [Server; 2],
}

impl Acme {
    /// It asks for names at `apps`' address.
    #[track_caller]
    fn start(apps: &Environment) -> Self {
        let gateway = "{{(index .IPAM.Config 0).Gateway}}";
        let network = Run::new("docker")
            .words("network inspect loko --format")
            .args([gateway]);
        let address = network.ok().text().to_owned();
        let directory = apps.place.home.join("acme");
        fs_err::create_dir_all(&directory).unwrap();
        let now = Timestamp::now();
        let authority = Authority::create("acme", now).unwrap();
        let names = Names::default().with_addresses([address.parse().unwrap()]);
        let leaf = authority.issue(&names, now).unwrap();
        let path = |name: &str| directory.join(name).to_string_lossy().into_owned();
        fs_err::write(path("tls.crt"), leaf.certificate_pem).unwrap();
        fs_err::write(path("tls.key"), leaf.key_pem).unwrap();
        fs_err::write(path("ca.crt"), authority.certificate_pem()).unwrap();
        let configuration = json!({"pebble": {
            "listenAddress": format!("{address}:{DIRECTORY_PORT}"),
            "managementListenAddress": format!("{address}:{ROOTS_PORT}"),
            "certificate": path("tls.crt"), "privateKey": path("tls.key"),
            // Where names lead to is asked at these, as any ACME server does.
            "httpPort": 80, "tlsPort": 443,
            "retryAfter": {"authz": 1, "order": 1},
        }});
        fs_err::write(path("pebble.json"), configuration.to_string()).unwrap();
        let names = Run::new("pebble-challtestsrv").args([
            "-dnsserver",
            &format!("{address}:{NAMES_PORT}"),
            "-management",
            &format!("{address}:{NAMES_SETTINGS_PORT}"),
            "-defaultIPv4",
            &apps.address,
        ]);
        let names = names.args(["-defaultIPv6=", "-http01=", "-https01=", "-tlsalpn01=", "-doh="]);
        let names = Server::start(names, "Starting management server");
        let pebble = Run::new("pebble")
            .args(["-config", &path("pebble.json")])
            .args(["-dnsserver", &format!("{address}:{NAMES_PORT}")])
            .env("PEBBLE_VA_NOSLEEP", "1");
        let pebble = Server::start(pebble, "Listening on");
        Self {
            address,
            authority_pem: authority.certificate_pem().to_owned(),
            _servers: [names, pebble],
        }
    }

    /// Puts the authority that signs what it issues into a file, whose path it gives.
    #[track_caller]
    fn root(&self, apps: &Environment) -> String {
        let directory = apps.place.home.join("acme");
        let url = format!("https://{}:{ROOTS_PORT}/roots/0", self.address);
        let root = eventually(Duration::from_mins(1), "pebble gives its root", || {
            let answer = Run::new("curl")
                .words("--silent --show-error --fail --noproxy * --cacert")
                .args([directory.join("ca.crt")])
                .args([&url])
                .any();
            if answer.code == Some(0) {
                Ok(answer.stdout)
            } else {
                Err(answer.to_string())
            }
        });
        let path = directory.join("root.crt");
        fs_err::write(&path, root).unwrap();
        path.to_string_lossy().into_owned()
    }

    fn settings(&self, challenge: &str) -> String {
        let pem = self.authority_pem.replace('\n', "\n        ");
        format!(
            "  ingress-controller:\n    acme:\n      email: me@example.org\n      server: https://{}:{DIRECTORY_PORT}/dir\n      \
             challenge: {challenge}\n      ca: |\n        {}\n",
            self.address,
            pem.trim_end()
        )
    }
}

fn by_tls(suite: &Suite) {
    by(&suite.apps, "tls");
}

fn by_http(suite: &Suite) {
    by(&suite.apps, "http");
}

#[track_caller]
fn by(apps: &Environment, challenge: &str) {
    apps.up();
    let acme = Acme::start(apps);
    let root = acme.root(apps);
    let host = format!("{challenge}.real.test");
    let http = format!("http: {{port: 8080, hosts: [whoami.{}, {host}]}}", apps.domain);
    let yaml = apps
        .yaml
        .replace("components:\n", &format!("components:\n{}", acme.settings(challenge)))
        .replacen("http: {port: 8080}", &http, 1);
    assert!(yaml.contains(&host) && yaml.contains("acme:"), "{yaml}");
    apps.write(&yaml);
    apps.loko("create").ok();
    let url = format!("https://{host}/headers");
    let ask = |trusted: &str| {
        let curl = Run::new("curl").words("--silent --show-error --max-time 20 --noproxy * --fail --cacert");
        let places = [format!("{host}:443:{}", apps.address), url.clone()];
        curl.args([trusted]).args(["--resolve"]).args(places).any()
    };
    let is_signed = || {
        eventually(Duration::from_mins(2), "its certificate is the ACME server's", || {
            let answer = ask(&root);
            if answer.code == Some(0) {
                Ok(())
            } else {
                Err(format!("{answer}\n{}", apps.loko("logs ingress --tail 20").any()))
            }
        });
    };
    is_signed();
    if challenge == "tls" {
        // Another pod has no certificate, and asks for one before anybody reaches it.
        apps.write(&yaml.replace("    acme:\n", "    dashboard: true\n    acme:\n"));
        apps.loko("create").ok();
        is_signed();
    }
    // 60: signed by nobody that is trusted. Names of the domain keep the certificate of ours.
    let ours = apps.place.authority().to_string_lossy().into_owned();
    assert_eq!(ask(&ours).code, Some(60));
    apps.answers();
    apps.write(&apps.yaml);
    apps.loko("create").ok();
    // Nobody answers to that name any more.
    assert!(ask(&root).code != Some(0));
}
