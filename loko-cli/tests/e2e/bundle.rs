//! An environment from a file, where no registry can be reached: its images have names of a registry that nobody has, and are
//! not on the engine. Its nodes trust an authority of the user's, and see a folder beside loko.yaml.

use std::collections::BTreeSet;
use std::net::{IpAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::environment::{Environment, Place, events};
use crate::run::{Run, eventually};
use crate::suite::{self, Suite};
use crate::{Test, Topic};

pub(crate) const TOPIC: Topic = Topic {
    name: "bundle",
    tests: &[Test(
        "a_bundle_brings_an_environment_up_without_a_registry",
        &["curl", "dig", "tar"],
        without_a_registry,
    )],
};

/// What the bundle is made of, and the names that it has there. `.test` is reserved (RFC 2606): nothing answers.
const IMAGES: [(&str, &str); 4] = [
    ("kindest/node:v1.36.3", "offline.loko.test/node:v1.36.3"),
    ("dockurr/dnsmasq:2.91", "offline.loko.test/dnsmasq:2.91"),
    ("traefik:v3.7.13", "offline.loko.test/traefik:v3.7.13"),
    ("mccutchen/go-httpbin:2.25.0", "offline.loko.test/httpbin:2.25.0"),
];

/// HAProxy is shared by all environments: it keeps its image.
pub(crate) fn environment(place: &Place) -> Environment {
    let yaml = "name: e2e-offline
network: {ip: 127.0.0.14, domain: offline.loko.test}
cluster:
  kubernetes: {image: offline.loko.test/node, tag: v1.36.3}
  extra-cas: [corp-ca.pem]
  extra-mounts: [{hostPath: ./shared, containerPath: /shared, readOnly: true}]
components:
  dnsmasq: {image: offline.loko.test/dnsmasq, version: \"2.91\"}
  haproxy: {version: \"3.0.11\"}
  ingress-controller: {image: offline.loko.test/traefik, version: v3.7.13}
  metrics-server: {enabled: false}
registry: {enabled: false}
workloads:
  user:
    - {name: whoami, image: \"offline.loko.test/httpbin:2.25.0\", http: {port: 8080}}
";
    Environment::new(place, "e2e-offline", "offline.loko.test", "127.0.0.14", yaml.to_owned())
}

/// Names of images that go when the test ends, however it ends. The content stays: it has other names.
struct Tags;

impl Tags {
    fn set() -> Self {
        for (image, name) in IMAGES {
            Run::new("docker").args(["tag", image, name]).ok();
        }
        Self
    }

    fn remove() {
        for (_, name) in IMAGES {
            let _ = Run::new("docker").args(["rmi", name]).any();
        }
    }

    fn there() -> BTreeSet<&'static str> {
        let is_there = |name: &str| Run::new("docker").args(["image", "inspect", name]).any().code == Some(0);
        IMAGES
            .iter()
            .map(|(_, name)| *name)
            .filter(|name| is_there(name))
            .collect()
    }
}

impl Drop for Tags {
    fn drop(&mut self) {
        Self::remove();
    }
}

fn without_a_registry(suite: &Suite) {
    let offline = &suite.offline;
    let file = offline.place.home.join("offline.tar");
    let tags = Tags::set();
    let corp = Corp::new(offline);
    saved(offline, &file);
    Tags::remove();
    assert_eq!(Tags::there(), BTreeSet::new());
    refused(offline, &file);

    let created = offline
        .loko("create -o json --bundle")
        .args([&file])
        .limit(Duration::from_mins(8))
        .ok();
    let steps: Vec<_> = events(&created);
    let step = |name: &str| {
        steps
            .iter()
            .any(|event| event["step"] == name && event["event"] == "done")
    };
    assert!(step("bundle") && step("ready"), "{created}");
    offline.get(&offline.host("whoami"), "/headers");
    // What the engine runs itself went there, what runs in nodes did not.
    let on_engine = [IMAGES[0].1, IMAGES[1].1];
    assert_eq!(Tags::there(), BTreeSet::from(on_engine));
    let held = Run::new("docker")
        .args(["exec", &offline.node()])
        .words("ctr --namespace k8s.io images ls --quiet")
        .ok();
    held.says(IMAGES[2].1).says(IMAGES[3].1);
    suite.settled(offline);
    let mounted = Run::new("docker")
        .args(["exec", &offline.node(), "cat", "/shared/note"])
        .ok();
    assert_eq!(mounted.text(), "from beside loko.yaml");
    trusts(offline, corp);
    offline.loko("destroy --yes").ok();
    drop(tags);
    fs_err::remove_file(&file).unwrap();
}

/// Saves it, is killed on the way, goes on, and has every part once.
fn saved(offline: &Environment, file: &Path) {
    let save = || offline.loko("bundle save").args([file]).limit(Duration::from_mins(5));
    let part = PathBuf::from(format!("{}.part", file.display()));
    let running = save().start();
    // The node image is the largest by far: it is being written.
    eventually(Duration::from_mins(3), "a bundle grows", || {
        let length = fs_err::metadata(&part).map(|of| of.len()).unwrap_or_default();
        (length > 150 << 20)
            .then_some(())
            .ok_or_else(|| format!("{length} bytes"))
    });
    running.kill();
    assert!(!file.exists());
    let again = save().ok();
    again.says("are there from a run before").says("is there already");
    let show = offline
        .place
        .loko()
        .words("bundle show -o json --verify")
        .args([file])
        .ok();
    let images: BTreeSet<String> = show.json()["images"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|image| image["image"].as_str().unwrap_or_default().to_owned())
        .collect();
    let mut wanted: BTreeSet<String> = IMAGES.iter().map(|(_, name)| (*name).to_owned()).collect();
    wanted.insert("haproxy:3.0.11".to_owned());
    assert_eq!(images, wanted, "{show}");
    let listed = Run::new("tar").args(["--list", "--file"]).args([file]).ok();
    let mut names: Vec<&str> = listed.stdout.lines().collect();
    let all = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), all, "{listed}");
}

/// What cannot be used is refused before anything is made.
fn refused(offline: &Environment, file: &Path) {
    let create = |file: &Path| offline.loko("create --bundle").args([file]);
    let cut = file.with_extension("cut");
    fs_err::copy(file, &cut).unwrap();
    let length = fs_err::metadata(&cut).unwrap().len();
    let shortened = std::fs::OpenOptions::new().write(true).open(&cut).unwrap();
    shortened.set_len(length / 2).unwrap();
    create(&cut).ends_with(1).says("is cut off").says("copy it again");
    fs_err::remove_file(&cut).unwrap();
    create(&offline.file).ends_with(1).says("is no bundle of LoKO's");
    let recreate = offline.loko("recreate --yes --bundle").args([&offline.file]);
    recreate.ends_with(1).says("is no bundle of LoKO's");
    offline.write(&offline.yaml.replace("httpbin:2.25.0", "httpbin:9"));
    create(file)
        .ends_with(1)
        .says("neither the bundle")
        .says("offline.loko.test/httpbin:9");
    offline.write(&offline.yaml);
    assert_eq!(suite::containers_of(&offline.name), Vec::<String>::new());
    assert!(!offline.state().exists());
}

/// A company's registry, in so far as it has a certificate.
struct Corp {
    listener: TcpListener,
    tls: Arc<rustls::ServerConfig>,
    address: String,
}

impl Corp {
    /// Listens where nodes reach this host, and puts its authority and a folder beside loko.yaml.
    fn new(offline: &Environment) -> Self {
        let gateway = Run::new("docker")
            .words("network inspect bridge --format")
            .args(["{{(index .IPAM.Config 0).Gateway}}"])
            .ok();
        let gateway: IpAddr = gateway.text().parse().unwrap();
        let authority_key = rcgen::KeyPair::generate().unwrap();
        let mut authority = rcgen::CertificateParams::new(Vec::new()).unwrap();
        authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let pem = authority.self_signed(&authority_key).unwrap().pem();
        let issuer = rcgen::Issuer::new(authority, authority_key);
        let key = rcgen::KeyPair::generate().unwrap();
        let leaf = rcgen::CertificateParams::new(vec![gateway.to_string()]).unwrap();
        let leaf = leaf.signed_by(&key, &issuer).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![leaf.der().clone()],
                rustls::pki_types::PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
            );
        let directory = offline.file.parent().unwrap();
        fs_err::write(directory.join("corp-ca.pem"), pem).unwrap();
        fs_err::create_dir_all(directory.join("shared")).unwrap();
        fs_err::write(directory.join("shared/note"), "from beside loko.yaml\n").unwrap();
        let listener = TcpListener::bind((gateway, 0)).unwrap();
        let address = listener.local_addr().unwrap().to_string();
        Self {
            listener,
            tls: Arc::new(tls.unwrap()),
            address,
        }
    }

    /// Whether who comes next trusts the certificate: who does not says so in an alert.
    fn greets(self) -> Result<(), String> {
        self.listener.set_nonblocking(true).unwrap();
        let (mut socket, _) = eventually(Duration::from_mins(2), "containerd comes", || {
            self.listener.accept().map_err(|error| error.to_string())
        });
        socket.set_nonblocking(false).unwrap();
        socket.set_read_timeout(Some(Duration::from_mins(1))).unwrap();
        let mut connection = rustls::ServerConnection::new(self.tls).unwrap();
        // The request comes after the handshake: with TLS 1.3 the client's verdict is in what follows.
        loop {
            let state = connection.process_new_packets().map_err(|error| error.to_string())?;
            if state.plaintext_bytes_to_read() > 0 {
                return Ok(());
            }
            let moved = connection.complete_io(&mut socket).map_err(|error| error.to_string())?;
            if moved == (0, 0) {
                return Err("it went away without a request".to_owned());
            }
        }
    }
}

/// containerd of a node speaks to the company's registry, and does not take its certificate for a stranger's.
fn trusts(offline: &Environment, corp: Corp) {
    let image = format!("{}/shop:1", corp.address);
    let node = offline.node();
    std::thread::scope(|scope| {
        // It has no such image: only that it asks matters. Once it was greeted nobody listens any more.
        let pull = scope.spawn(|| {
            let pull =
                Run::new("docker").args(["exec", &node, "ctr", "--namespace", "k8s.io", "images", "pull", &image]);
            pull.any()
        });
        let greeted = corp.greets();
        let pull = pull.join().unwrap();
        assert_eq!(greeted, Ok(()), "{pull}");
        assert!(!pull.stderr.contains("x509"), "{pull}");
    });
}
