//! Servers on 127.0.0.1 that end with the test.
#![expect(clippy::print_stdout, reason = "says what it skips")]

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use loko_registry::driver::{Client, ClientOptions};
use loko_registry::oci::{Digest, Repository};

/// An answer.
pub(crate) struct Reply {
    status: String,
    headers: String,
    body: String,
}

impl Reply {
    pub(crate) fn new(status: &str, headers: &str, body: &str) -> Self {
        Self {
            status: status.to_owned(),
            headers: headers.to_owned(),
            body: body.to_owned(),
        }
    }

    pub(crate) fn ok(body: &str) -> Self {
        Self::new("200 OK", "", body)
    }
}

/// A server that answers by target and `authorization`.
pub(crate) struct Server {
    pub(crate) port: u16,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Server {
    /// `play` is given the target, what came as `authorization`, and the server's own port.
    pub(crate) fn start(play: impl Fn(&str, Option<&str>, u16) -> Reply + Send + 'static) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&asked);
        // One connection is one question, so that no connection is waited for beside another.
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { continue };
                let mut lines = BufReader::new(&stream).lines().map_while(Result::ok);
                let Some(first) = lines.next() else { continue };
                let headers: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
                let target = first.split(' ').nth(1).unwrap_or_default().to_owned();
                let authorization = headers.iter().find_map(|line| line.strip_prefix("authorization: "));
                let Reply { status, headers, body } = play(&target, authorization, port);
                log.lock().expect("nobody panicked").push(target);
                let _ = write!(
                    stream,
                    "HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {}\r\n{headers}\r\n{body}",
                    body.len()
                );
            }
        });
        Self { port, asked }
    }

    /// The targets that were asked for.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().expect("nobody panicked").clone()
    }
}

/// A port at which nothing listens.
pub(crate) fn closed_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener.local_addr().expect("an address").port()
}

fn authority() -> rcgen::CertifiedIssuer<'static, rcgen::KeyPair> {
    let mut params = rcgen::CertificateParams::new(Vec::new()).expect("parameters");
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let key = rcgen::KeyPair::generate().expect("a key");
    rcgen::CertifiedIssuer::self_signed(params, key).expect("an authority")
}

/// The certificate of an authority that signed nothing.
pub(crate) fn another_authority() -> String {
    authority().pem()
}

/// The test bed's `registry`, with TLS for `localhost`.
pub(crate) struct Registry {
    child: Child,
    pub(crate) port: u16,
    pub(crate) authority: PathBuf,
    _directory: tempfile::TempDir,
}

impl Registry {
    /// None, and a word of it, where the program is not here.
    pub(crate) fn start() -> Option<Self> {
        let bed = std::env::var("LOKO_TESTBED_DIR").unwrap_or_else(|_| "/var/cache/loko-testbed".to_owned());
        let program = PathBuf::from(bed).join("bin/registry");
        if !program.is_file() {
            println!("skipped: no registry with TLS: the test bed has not built its program (testbed/bed up)");
            return None;
        }
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = |name: &str| directory.path().join(name);
        let issuer = authority();
        let key = rcgen::KeyPair::generate().expect("a key");
        let leaf = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).expect("parameters");
        let leaf = leaf.signed_by(&key, &issuer).expect("a certificate");
        fs_err::write(path("ca.pem"), issuer.pem()).expect("a file");
        fs_err::write(path("tls.crt"), leaf.pem()).expect("a file");
        fs_err::write(path("tls.key"), key.serialize_pem()).expect("a file");
        let port = closed_port();
        let root = directory.path().display();
        let config = format!(
            "version: '0.1'\nlog: {{accesslog: {{disabled: true}}, level: error}}\n\
             storage: {{filesystem: {{rootdirectory: {root}/data}}}}\n\
             http: {{addr: '127.0.0.1:{port}', tls: {{certificate: {root}/tls.crt, key: {root}/tls.key}}}}\n"
        );
        fs_err::write(path("config.yml"), config).expect("a file");
        let child = Command::new(program)
            .arg("serve")
            .arg(path("config.yml"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("it starts");
        let registry = Self {
            child,
            port,
            authority: path("ca.pem"),
            _directory: directory,
        };
        let until = Instant::now() + Duration::from_mins(1);
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            assert!(Instant::now() < until, "the registry does not listen");
            std::thread::sleep(Duration::from_millis(20));
        }
        Some(registry)
    }

    /// One small image under many tags.
    pub(crate) fn push<'t>(&self, repository: &str, tags: impl Iterator<Item = &'t str>) {
        let client = Client::new(ClientOptions {
            registry: format!("https://localhost:{}", self.port),
            authority: Some(fs_err::read_to_string(&self.authority).expect("a file")),
            addresses: BTreeMap::from([(
                "localhost".to_owned(),
                SocketAddr::from((Ipv4Addr::LOCALHOST, self.port)),
            )]),
            credentials: None,
            patience: Duration::from_mins(1),
        })
        .expect("a client");
        let repository: Repository = repository.parse().expect("a repository");
        let config = b"{\"architecture\":\"amd64\",\"os\":\"linux\"}".to_vec();
        let media_type = "application/vnd.oci.image.manifest.v1+json";
        let manifest = serde_json::json!({
            "schemaVersion": 2,
            "mediaType": media_type,
            "config": {
                "mediaType": "application/vnd.oci.image.config.v1+json",
                "size": config.len(),
                "digest": Digest::of(&config),
            },
            "layers": [],
        });
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        runtime.block_on(async {
            let digest = Digest::of(&config);
            client.put_blob(&repository, &digest, config).await.expect("a blob");
            let (client, repository, manifest) = (&client, &repository, manifest.to_string());
            let put = |tag: &str| {
                let (reference, bytes) = (tag.parse().expect("a tag"), manifest.clone().into_bytes());
                async move {
                    let put = client.put_manifest(repository, &reference, media_type, bytes);
                    put.await.expect("a manifest")
                }
            };
            let mut put = futures_util::stream::iter(tags.map(put)).buffer_unordered(16);
            while put.next().await.is_some() {}
        });
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
