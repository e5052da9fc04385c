//! What the tests of the driver stand on: an engine, servers in place of node ports, and a container of their own.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::num::NonZeroU16;
use std::time::Duration;

use loko_engine::driver::{ExecSpec, File};
use loko_engine::{ContainerSpec, EdgeMode, Engine};
use loko_haproxy::{Change, Edge, HaproxyError, Names, Report, Routes, TcpRoute, Upstream};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

const DIRECTORY: &str = "/usr/local/etc/haproxy";

/// One HAProxy of its own on the engine that answers.
pub(crate) struct Bed {
    pub(crate) engine: Engine,
    pub(crate) edge: Edge,
    pub(crate) names: Names,
    image: String,
    number: u16,
}

impl Bed {
    /// `None` where no engine answers or it has no HAProxy; says so.
    pub(crate) async fn new(name: &str, number: u16) -> Option<Self> {
        let env: BTreeMap<String, String> = std::env::vars().collect();
        let endpoint = loko_engine::endpoint::resolve(&env, None);
        let Ok(engine) = Engine::connect(&endpoint).await else {
            println!("skipped: no engine answers");
            return None;
        };
        let image = env
            .get("LOKO_TEST_HAPROXY")
            .cloned()
            .unwrap_or_else(|| "haproxy:3.0.11".to_owned());
        if engine.image(&image).await.ok().flatten().is_none() {
            println!("skipped: no image {image}");
            return None;
        }
        let names = Names {
            container: format!("loko-haproxytest-{name}"),
            volume: format!("loko-haproxytest-{name}"),
            network: "bridge".to_owned(),
        };
        let edge = Edge::new(engine.clone(), image.clone(), EdgeMode::HostNetwork).named(names.clone(), 18800 + number);
        let bed = Self {
            engine,
            edge,
            names,
            image,
            number,
        };
        bed.clean().await;
        Some(bed)
    }

    /// The same where ports are published.
    pub(crate) fn published(mut self) -> Self {
        let image = self.image.clone();
        self.edge =
            Edge::new(self.engine.clone(), image, EdgeMode::Published).named(self.names.clone(), 18800 + self.number);
        self
    }

    /// The same on a network of its own, where containers find each other by name; it is made here.
    pub(crate) async fn published_apart(mut self) -> Self {
        self.names.network.clone_from(&self.names.container);
        self.remove_network().await;
        let made = docker(&[
            "network",
            "create",
            "--label",
            "dev.loko.test=haproxy",
            &self.names.network,
        ])
        .await;
        assert!(made, "the network {} could not be made", self.names.network);
        self.published()
    }

    /// Takes that network away.
    pub(crate) async fn remove_network(&self) {
        docker(&["network", "rm", &self.names.network]).await;
    }

    /// The host's own address on the network that containers are on where ports are published.
    pub(crate) async fn gateway(&self) -> IpAddr {
        let network = self.engine.network(&self.names.network).await.unwrap().unwrap();
        IpAddr::V4(network.subnets[0].hosts().next().unwrap())
    }

    /// Routes to one node at `127.0.61.<number>`; HTTP and HTTPS at ports that no other test uses.
    pub(crate) fn routes(&self, name: &str, address: &str, ports: &[(u16, u16)]) -> Routes {
        let port = |number| NonZeroU16::new(number).unwrap();
        Routes {
            environment: name.parse().unwrap(),
            address: address.parse().unwrap(),
            http: port(18080),
            https: port(18443),
            domain: format!("{name}.me").parse().unwrap(),
            hosts: BTreeSet::new(),
            nodes: vec![Upstream {
                name: format!("loko-{name}-control-plane").parse().unwrap(),
                address: IpAddr::from([127, 0, 61, u8::try_from(self.number).unwrap()]),
            }],
            tcp: ports
                .iter()
                .map(|(listen, node_port)| TcpRoute {
                    workload: format!("w{listen}").parse().unwrap(),
                    listen: port(*listen),
                    node_port: port(*node_port),
                    sni: BTreeSet::new(),
                })
                .collect(),
            udp: Vec::new(),
        }
    }

    pub(crate) async fn put(&self, routes: &Routes) -> Result<Report, HaproxyError> {
        self.edge.apply(&Change::Put(Box::new(routes.clone()))).await
    }

    pub(crate) fn statistics(&self) -> u16 {
        18800 + self.number
    }

    pub(crate) async fn started_at(&self) -> String {
        self.engine
            .container(&self.names.container)
            .await
            .unwrap()
            .unwrap()
            .started_at
    }

    /// The configuration and the routes, by path.
    pub(crate) async fn files(&self) -> Vec<(String, Vec<u8>)> {
        let files = self
            .engine
            .get_files(&self.names.container, DIRECTORY)
            .await
            .unwrap()
            .unwrap();
        files
            .into_iter()
            .filter(|(path, _)| path != "haproxy.cfg.old")
            .collect()
    }

    pub(crate) async fn write(&self, files: &[(String, Vec<u8>)]) {
        let files: Vec<File> = files
            .iter()
            .map(|(path, contents)| File::new(format!("{DIRECTORY}/{path}"), contents.clone()))
            .collect();
        self.engine.put_files(&self.names.container, &files).await.unwrap();
    }

    /// What HAProxy says of its configuration beside that it is valid.
    pub(crate) async fn warnings(&self) -> String {
        let check = ExecSpec::new(["haproxy", "-c", "-f", "/usr/local/etc/haproxy/haproxy.cfg"]);
        let output = self.engine.exec(&self.names.container, &check).await.unwrap();
        assert_eq!(output.code, 0);
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    /// As a restart of the engine does it.
    pub(crate) async fn restart(&self) {
        self.engine.stop_container(&self.names.container, 2).await.unwrap();
        self.engine.start_container(&self.names.container).await.unwrap();
    }

    /// A container that does nothing but have the volume mounted; its name.
    pub(crate) async fn holder(&self) -> String {
        let spec = ContainerSpec {
            name: format!("{}-holder", self.names.container),
            entrypoint: Some(vec!["sleep".to_owned()]),
            command: Some(vec!["infinity".to_owned()]),
            ..loko_haproxy::container::spec(&self.names, &self.image, EdgeMode::HostNetwork, Vec::new())
        };
        self.engine.remove_container(&spec.name).await.unwrap();
        self.engine.create_container(&spec).await.unwrap();
        self.engine.start_container(&spec.name).await.unwrap();
        spec.name
    }

    pub(crate) async fn clean(&self) {
        self.engine
            .remove_container(&format!("{}-holder", self.names.container))
            .await
            .unwrap();
        self.engine.remove_container(&self.names.container).await.unwrap();
        self.engine.remove_volume(&self.names.volume).await.unwrap();
    }

    /// Names of containers and volumes of this bed that are still there.
    pub(crate) async fn leftovers(&self) -> Vec<String> {
        let all = BTreeMap::new();
        let containers = self.engine.containers(&all).await.unwrap();
        let names = containers.into_iter().map(|container| container.name);
        let volumes = self.engine.volumes(&all).await.unwrap();
        names
            .chain(volumes)
            .filter(|name| name.starts_with(&self.names.container))
            .collect()
    }

    /// What a TLS port answers to a `ClientHello` with that name; empty where the connection is closed.
    pub(crate) async fn sni(&self, routes: &Routes, name: &str) -> String {
        let address = format!("{}:{}", routes.address, routes.https);
        let answer = send_and_receive(&address, &client_hello(name))
            .await
            .unwrap_or_default();
        let text = String::from_utf8_lossy(&answer).into_owned();
        text.rsplit_once("body:")
            .map(|(_, body)| body.to_owned())
            .unwrap_or_default()
    }
}

/// Whether the `docker` command did it.
async fn docker(words: &[&str]) -> bool {
    let output = tokio::process::Command::new("docker").args(words).output().await;
    output.is_ok_and(|output| output.status.success())
}

/// Sends back what it gets. A ping beside it says that its node is up.
pub(crate) struct EchoServer {
    port: u16,
    _ping: Option<WebServer>,
    task: tokio::task::JoinHandle<()>,
}

impl EchoServer {
    pub(crate) async fn start(address: &str) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let local = listener.local_addr().unwrap();
        let ping = WebServer::start(&local.ip().to_string(), "echo").await;
        let task = tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut reader, mut writer) = stream.split();
                    let _ = tokio::io::copy(&mut reader, &mut writer).await;
                });
            }
        });
        Self {
            port: local.port(),
            _ping: ping,
            task,
        }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }
}

impl Drop for EchoServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Stands for Traefik on one node: ping, web and websecure, each of which says `name`. The latter two take and check the
/// PROXY header.
pub(crate) struct WebServer {
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl WebServer {
    /// `None` where a port is in use.
    pub(crate) async fn start(address: &str, name: &'static str) -> Option<Self> {
        use loko_config::slots::{PING_NODE_PORT, WEB_NODE_PORT, WEBSECURE_NODE_PORT};
        let mut tasks = Vec::new();
        for port in [PING_NODE_PORT, WEB_NODE_PORT, WEBSECURE_NODE_PORT] {
            let listener = TcpListener::bind((address, port)).await.ok()?;
            tasks.push(tokio::spawn(async move {
                while let Ok((stream, _)) = listener.accept().await {
                    tokio::spawn(answer(stream, name, port));
                }
            }));
        }
        Some(Self { tasks })
    }
}

impl Drop for WebServer {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

async fn answer(mut stream: TcpStream, name: &str, port: u16) {
    use loko_config::slots::{PING_NODE_PORT, WEBSECURE_NODE_PORT};
    let mut buffer = vec![0; 4096];
    let mut length = 0;
    loop {
        let Ok(read @ 1..) = stream.read(&mut buffer[length..]).await else {
            return;
        };
        length += read;
        let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
        if port == WEBSECURE_NODE_PORT {
            if length > 60 {
                let proxied = buffer.starts_with(b"\r\n\r\n\0\r\nQUIT\n");
                let _ = stream
                    .write_all(format!("body:{}", if proxied { name } else { "no PROXY header" }).as_bytes())
                    .await;
                return;
            }
        } else if text.ends_with("\r\n\r\n") {
            let proxied = port == PING_NODE_PORT || buffer.starts_with(b"\r\n\r\n\0\r\nQUIT\n");
            let body = if proxied { name } else { "no PROXY header" };
            let head = format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                body.len()
            );
            let _ = stream.write_all(format!("{head}{body}").as_bytes()).await;
            return;
        }
    }
}

/// One connection: sends, closes its half, and reads to the end.
pub(crate) async fn send_and_receive(address: &str, bytes: &[u8]) -> std::io::Result<Vec<u8>> {
    let work = async {
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(bytes).await?;
        stream.shutdown().await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        Ok::<_, std::io::Error>(answer)
    };
    let answer = tokio::time::timeout(Duration::from_secs(20), work).await;
    answer.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()))
}

/// The whole answer to one request.
pub(crate) async fn get(address: &str, host: &str) -> std::io::Result<String> {
    let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

/// A `ClientHello` of TLS 1.2 with one cipher suite and a server name (RFC 5246 §7.4.1.2, RFC 6066 §3).
pub(crate) fn client_hello(name: &str) -> Vec<u8> {
    let sized = |bytes: Vec<u8>| [u16::try_from(bytes.len()).unwrap().to_be_bytes().to_vec(), bytes].concat();
    let server_name = sized([vec![0], sized(name.as_bytes().to_vec())].concat());
    let extensions = sized([vec![0, 0], sized(server_name)].concat());
    let body = [
        vec![3, 3],
        vec![7; 32],
        vec![0],
        sized(vec![0xc0, 0x2f]),
        vec![1, 0],
        extensions,
    ]
    .concat();
    let length = u32::try_from(body.len()).unwrap().to_be_bytes();
    let handshake = [vec![1], length[1..].to_vec(), body].concat();
    [vec![0x16, 3, 1], sized(handshake)].concat()
}
