//! Registries on 127.0.0.1, with the test bed's `registry` and, where `LOKO_TESTBED_ZOT` names one, Zot.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "helpers of tests")]

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use loko_config::model::RegistryEngine;
use loko_registry::driver::{Client, ClientOptions};
use loko_registry::oci::{Digest, Reference, Repository};
use loko_registry::{Credentials, RegistrySpec, Source, distribution, zot};
use serde_json::json;

use crate::sample::spec;

/// The engines whose programs are here. Says of the others that they are skipped.
pub(crate) fn engines() -> Vec<RegistryEngine> {
    let all = [RegistryEngine::Distribution, RegistryEngine::Zot];
    all.into_iter().filter(|engine| program(*engine).is_some()).collect()
}

fn program(engine: RegistryEngine) -> Option<PathBuf> {
    let (path, hint) = match engine {
        RegistryEngine::Distribution => {
            let bed = std::env::var("LOKO_TESTBED_DIR").unwrap_or_else(|_| "/var/cache/loko-testbed".to_owned());
            (format!("{bed}/bin/registry"), "`testbed/bed up` makes it")
        }
        RegistryEngine::Zot => (
            std::env::var("LOKO_TESTBED_ZOT").unwrap_or_default(),
            "LOKO_TESTBED_ZOT names no program",
        ),
    };
    let path = PathBuf::from(path);
    if path.is_file() {
        return Some(path);
    }
    println!("skipped: {engine:?}: {hint}");
    None
}

/// Whether the program for stand-in upstreams is here.
pub(crate) fn has_upstreams() -> bool {
    program(RegistryEngine::Distribution).is_some()
}

/// A program that serves, ended when dropped.
pub(crate) struct Server {
    child: Child,
    command: Vec<String>,
    variables: Vec<(&'static str, String)>,
    pub(crate) port: u16,
    log: PathBuf,
}

impl Server {
    fn start(program: &Path, config: &Path, port: u16) -> Self {
        Self::start_with(program, config, port, Vec::new())
    }

    fn start_with(program: &Path, config: &Path, port: u16, variables: Vec<(&'static str, String)>) -> Self {
        let command = [program, Path::new("serve"), config].map(|part| part.to_str().unwrap().to_owned());
        let log = config.with_extension("log");
        let child = spawn(&command, &variables, &log);
        let server = Self {
            child,
            command: command.to_vec(),
            variables,
            port,
            log,
        };
        server.wait();
        server
    }

    fn wait(&self) {
        let until = Instant::now() + Duration::from_secs(30);
        while std::net::TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_err() {
            assert!(Instant::now() < until, "nothing listens: {}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub(crate) fn log(&self) -> String {
        fs_err::read_to_string(&self.log).unwrap()
    }

    /// How often a blob was given.
    pub(crate) fn gets(&self, digest: &Digest) -> usize {
        let request = format!("/blobs/{digest} ");
        let log = self.log();
        log.lines()
            .filter(|line| line.contains("\"GET ") && line.contains(&request))
            .count()
    }

    /// As a crash does.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub(crate) fn start_again(&mut self) {
        self.child = spawn(&self.command, &self.variables, &self.log);
        self.wait();
    }

    /// From here on distribution gives nothing to whoever does not say that it is `me`, whose password is `hush-hush`.
    pub(crate) fn lock(&mut self) {
        let config = PathBuf::from(&self.command[2]);
        let users = config.with_extension("users");
        // bcrypt, the only hash that it takes.
        fs_err::write(
            &users,
            "me:$2b$04$abcdefghijklmnopqrstuu9AsmTW0GVvQkIMJII9dLx.Ve/x6XdxC\n",
        )
        .unwrap();
        let text = fs_err::read_to_string(&config).unwrap();
        let auth = format!(
            "auth: {{htpasswd: {{realm: here, path: {}}}}}
",
            users.display()
        );
        let text = text + &auth;
        fs_err::write(&config, text).unwrap();
        self.kill();
        self.start_again();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(command: &[String], variables: &[(&'static str, String)], log: &Path) -> Child {
    let log = std::fs::File::options().create(true).append(true).open(log).unwrap();
    Command::new(&command[0])
        .args(&command[1..])
        .envs(variables.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .unwrap()
}

fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.local_addr().unwrap().port()
}

/// A registry of somebody else's, without TLS.
pub(crate) fn upstream(directory: &Path) -> (Server, Client) {
    let program = program(RegistryEngine::Distribution).unwrap();
    let port = free_port();
    let data = directory.join(format!("upstream-{port}"));
    let config = data.with_extension("yml");
    let text = format!(
        "version: '0.1'\nlog: {{accesslog: {{disabled: false}}, level: error}}\n\
         storage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{addr: '127.0.0.1:{port}'}}\n",
        data.display()
    );
    fs_err::write(&config, text).unwrap();
    (Server::start(&program, &config, port), client(port, None))
}

pub(crate) fn client(port: u16, authority: Option<String>) -> Client {
    let scheme = if authority.is_some() {
        "https://cr.dev.me"
    } else {
        "http://127.0.0.1"
    };
    Client::new(ClientOptions {
        registry: format!("{scheme}:{port}"),
        authority,
        addresses: BTreeMap::from([("cr.dev.me".to_owned(), SocketAddr::from((Ipv4Addr::LOCALHOST, port)))]),
        credentials: None,
        patience: Duration::from_mins(1),
    })
    .unwrap()
}

/// The registry that a specification asks for, as this crate configures it, but on 127.0.0.1 and in a directory.
pub(crate) struct Registry {
    pub(crate) servers: Vec<Server>,
    /// Of the registry itself.
    pub(crate) client: Client,
    /// Of what nodes are sent to, by source.
    mirrors: BTreeMap<String, (Client, String)>,
}

pub(crate) fn authority() -> (rcgen::CertifiedIssuer<'static, rcgen::KeyPair>, String) {
    let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let issuer = rcgen::CertifiedIssuer::self_signed(params, rcgen::KeyPair::generate().unwrap()).unwrap();
    let pem = issuer.pem();
    (issuer, pem)
}

impl Registry {
    pub(crate) fn start(engine: RegistryEngine, directory: &Path, sources: Vec<Source>) -> Self {
        Self::start_as(engine, directory, sources, BTreeMap::new())
    }

    /// With names and passwords for upstreams.
    pub(crate) fn start_as(
        engine: RegistryEngine,
        directory: &Path,
        sources: Vec<Source>,
        credentials: BTreeMap<String, Credentials>,
    ) -> Self {
        let spec = RegistrySpec {
            sources,
            credentials,
            ..spec(engine)
        };
        let (issuer, authority) = authority();
        let key = rcgen::KeyPair::generate().unwrap();
        let leaf = rcgen::CertificateParams::new(vec!["cr.dev.me".to_owned()]).unwrap();
        let leaf = leaf.signed_by(&key, &issuer).unwrap();
        let tls = directory.join("tls");
        fs_err::create_dir_all(&tls).unwrap();
        fs_err::write(tls.join("tls.crt"), leaf.pem()).unwrap();
        fs_err::write(tls.join("tls.key"), key.serialize_pem()).unwrap();

        let program = program(engine).unwrap();
        let client = |port| client(port, Some(authority.clone()));
        let mut servers = Vec::new();
        let mut mirrors = BTreeMap::new();
        match engine {
            RegistryEngine::Zot => {
                let port = free_port();
                let mut config = zot::Config::of(&spec);
                config.http.address = "127.0.0.1";
                config.http.port = port.to_string();
                let path = directory.join("config.json");
                fs_err::write(&path, at(&config.render(), directory)).unwrap();
                let users = zot::credentials_file(&spec.credentials);
                fs_err::write(directory.join("credentials.json"), users).unwrap();
                let verified = Command::new(&program).arg("verify").arg(&path).output().unwrap();
                assert!(verified.status.success(), "{verified:?}");
                servers.push(Server::start(&program, &path, port));
                for source in &spec.sources {
                    let prefix = format!("{}/", source.namespace);
                    mirrors.insert(source.name.clone(), (client(port), prefix));
                }
            }
            RegistryEngine::Distribution => {
                for instance in distribution::instances(&spec) {
                    let port = free_port();
                    let text = instance.config.render();
                    let text = text.replace(&format!("addr: :{}", instance.port), &format!("addr: 127.0.0.1:{port}"));
                    let path = directory.join(format!("{}.yml", instance.name));
                    fs_err::write(&path, at(&text, directory)).unwrap();
                    // As a pod gets them, from the Secret.
                    let known = instance.source.as_ref().map(Source::upstream);
                    let known = known.and_then(|upstream| spec.credentials.get(upstream));
                    let variables = known.map_or_else(Vec::new, |known| {
                        vec![
                            ("REGISTRY_PROXY_USERNAME", known.username.clone()),
                            ("REGISTRY_PROXY_PASSWORD", known.password.clone()),
                        ]
                    });
                    servers.push(Server::start_with(&program, &path, port, variables));
                    if let Some(source) = instance.source {
                        mirrors.insert(source.name, (client(port), String::new()));
                    }
                }
            }
        }
        let client = client(servers[0].port);
        Self {
            servers,
            client,
            mirrors,
        }
    }

    /// Where a node is sent that wants an image of a source.
    pub(crate) fn mirror(&self, source: &Source, repository: &Repository) -> (&Client, Repository) {
        let (client, prefix) = &self.mirrors[&source.name];
        (client, format!("{prefix}{repository}").parse().unwrap())
    }
}

fn at(text: &str, directory: &Path) -> String {
    let directory = directory.to_str().unwrap();
    text.replace("/var/lib/registry", &format!("{directory}/data"))
        .replace("/etc/loko/credentials", directory)
        .replace("/etc/loko/tls", &format!("{directory}/tls"))
}

/// A small image: what it consists of, and its manifest.
pub(crate) struct Image {
    pub(crate) blobs: Vec<Vec<u8>>,
    pub(crate) manifest: Vec<u8>,
    pub(crate) media_type: &'static str,
}

impl Image {
    /// As Docker writes it, so that a registry that converts it is found out.
    pub(crate) fn docker(seed: &str) -> Self {
        Self::of(seed, seed.repeat(1000).into_bytes())
    }

    /// One whose layer has given bytes.
    pub(crate) fn with_layer(layer: Vec<u8>) -> Self {
        Self::of("large", layer)
    }

    fn of(seed: &str, layer: Vec<u8>) -> Self {
        let config =
            json!({"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": []}, "seed": seed});
        let blobs = vec![config.to_string().into_bytes(), layer];
        let kinds = [
            "application/vnd.docker.container.image.v1+json",
            "application/vnd.docker.image.rootfs.diff.tar.gzip",
        ];
        let descriptor = |index: usize| json!({"mediaType": kinds[index], "size": blobs[index].len(), "digest": Digest::of(&blobs[index])});
        let media_type = "application/vnd.docker.distribution.manifest.v2+json";
        let manifest =
            json!({"schemaVersion": 2, "mediaType": media_type, "config": descriptor(0), "layers": [descriptor(1)]});
        Self {
            manifest: manifest.to_string().into_bytes(),
            blobs,
            media_type,
        }
    }

    pub(crate) fn digest(&self) -> Digest {
        Digest::of(&self.manifest)
    }

    pub(crate) async fn push(&self, client: &Client, repository: &Repository, tag: &str) -> Digest {
        for blob in &self.blobs {
            client
                .put_blob(repository, &Digest::of(blob), blob.clone())
                .await
                .unwrap();
        }
        let reference: Reference = tag.parse().unwrap();
        client
            .put_manifest(repository, &reference, self.media_type, self.manifest.clone())
            .await
            .unwrap()
    }

    /// Everything, as a node does it.
    pub(crate) async fn pull(client: &Client, repository: &Repository, reference: &str) -> Digest {
        let fetched = client.manifest(repository, &reference.parse().unwrap()).await.unwrap();
        for blob in fetched.manifest.blobs() {
            let size = client
                .read_blob(repository, &blob.digest, &mut tokio::io::sink())
                .await
                .unwrap();
            assert_eq!(size, blob.size);
        }
        fetched.digest
    }
}
