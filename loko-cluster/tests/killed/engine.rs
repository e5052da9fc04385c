//! An engine in memory: what LoKO asks of Docker's API, over a Unix socket, with commands in containers that do what kubeadm leaves
//! behind. At a request of the test's choice whoever asks is cut off, before it is served or after, as by SIGKILL.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};

use crate::http::{self, Request};

/// When whoever asks is cut off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cut {
    /// The request is lost.
    Before(usize),
    /// It is served, and nobody hears of it.
    After(usize),
}

#[derive(Debug, Default)]
struct State {
    networks: BTreeMap<String, Value>,
    volumes: BTreeMap<String, Value>,
    containers: BTreeMap<String, Container>,
    /// Container and command.
    execs: Vec<(String, Vec<String>)>,
    made: usize,
    requests: usize,
    writes: usize,
    cut: Option<Cut>,
    dead: bool,
}

#[derive(Debug, Clone)]
struct Container {
    id: String,
    body: Value,
    running: bool,
    started: bool,
    /// Contents and permission bits, by path.
    files: BTreeMap<String, (u32, Vec<u8>)>,
}

/// An engine that forgets everything when it is dropped.
#[derive(Debug)]
pub(crate) struct Memory {
    state: Arc<Mutex<State>>,
    socket: PathBuf,
    _directory: tempfile::TempDir,
}

impl Memory {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("engine.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let state = Arc::new(Mutex::new(State::default()));
        let of_server = Arc::clone(&state);
        std::thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                let state = Arc::clone(&of_server);
                std::thread::spawn(move || serve(&state, connection));
            }
        });
        Self {
            state,
            socket,
            _directory: directory,
        }
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("unix://{}", self.socket.display())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Cuts the next run off, or lets it end; counts from here.
    pub(crate) fn cut(&self, cut: Option<Cut>) {
        let mut state = self.state();
        (state.cut, state.dead, state.requests, state.writes) = (cut, false, 0, 0);
    }

    /// Requests since [`Self::cut`].
    pub(crate) fn requests(&self) -> usize {
        self.state().requests
    }

    /// Those of them that changed something.
    pub(crate) fn writes(&self) -> usize {
        self.state().writes
    }

    /// All that there is, but what another run would name otherwise.
    pub(crate) fn everything(&self) -> Value {
        let state = self.state();
        let containers: BTreeMap<&String, Value> = state
            .containers
            .iter()
            .map(|(name, container)| {
                let files: BTreeMap<&String, Value> = container
                    .files
                    .iter()
                    .map(|(path, (mode, bytes))| {
                        let text = format!("{mode:o} {}", String::from_utf8_lossy(bytes));
                        (path, Value::from(text))
                    })
                    .collect();
                (
                    name,
                    json!({"body": container.body, "running": container.running, "files": files}),
                )
            })
            .collect();
        json!({"networks": state.networks, "volumes": state.volumes, "containers": containers})
    }
}

fn serve(state: &Mutex<State>, mut connection: UnixStream) {
    let Some(request) = http::read(&mut connection) else {
        return;
    };
    // Who connects asks first what is there; a run begins after that.
    let greeting = matches!(request.path.as_str(), "/version" | "/info" | "/_ping");
    let (answer, upgraded) = {
        let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
        if !greeting {
            state.requests += 1;
        }
        let number = state.requests;
        state.dead |= !greeting && state.cut == Some(Cut::Before(number));
        if state.dead {
            return;
        }
        let answer = answer(&mut state, &request);
        state.dead |= !greeting && state.cut == Some(Cut::After(number));
        if state.dead {
            return;
        }
        (answer, request.path.starts_with("/exec/") && request.method == "POST")
    };
    if upgraded {
        let head = "HTTP/1.1 101 UPGRADED\r\nContent-Type: application/vnd.docker.raw-stream\r\n\
                    Connection: Upgrade\r\nUpgrade: tcp\r\n\r\n";
        if connection.write_all(head.as_bytes()).is_ok() {
            // The command reads its input to the end.
            let _ = connection.read_to_end(&mut Vec::new());
        }
        return;
    }
    http::write(&mut connection, answer);
}

/// Status and body.
fn answer(state: &mut State, request: &Request) -> (u16, Vec<u8>) {
    let parts: Vec<&str> = request.path.trim_matches('/').split('/').collect();
    let body = || serde_json::from_slice::<Value>(&request.body).unwrap_or_default();
    let not_found = || json_answer(404, &json!({"message": format!("no such thing: {}", request.path)}));
    if request.method != "GET" {
        state.writes += 1;
    }
    match (request.method.as_str(), parts.as_slice()) {
        ("GET", ["version"]) => json_answer(
            200,
            &json!({"Version": "29.0.0", "ApiVersion": "1.52", "MinAPIVersion": "1.24"}),
        ),
        ("GET", ["info"]) => json_answer(
            200,
            &json!({"CgroupVersion": "2", "Driver": "overlayfs", "Architecture": "x86_64"}),
        ),
        ("GET", ["images", .., "json"]) => json_answer(200, &json!({"Id": "sha256:0"})),
        ("GET", ["networks"]) => json_answer(200, &state.networks.values().cloned().collect()),
        ("GET", ["networks", name]) => match state.networks.get(*name) {
            Some(network) => json_answer(200, network),
            None => not_found(),
        },
        ("POST", ["networks", "create"]) => {
            let body = body();
            let name = body["Name"].as_str().unwrap_or_default().to_owned();
            if state.networks.contains_key(&name) {
                return json_answer(409, &json!({"message": "it exists"}));
            }
            state.networks.insert(name, body);
            json_answer(201, &json!({"Id": "network", "Warning": ""}))
        }
        ("DELETE", ["networks", name]) => match state.networks.remove(*name) {
            Some(_) => (204, Vec::new()),
            None => not_found(),
        },
        ("POST", ["volumes", "create"]) => {
            let body = body();
            let name = body["Name"].as_str().unwrap_or_default().to_owned();
            let labels = body["Labels"].clone();
            let volume = json!({"Name": name, "Driver": "local", "Mountpoint": "", "Scope": "local", "Options": {}, "Labels": labels});
            json_answer(201, state.volumes.entry(name).or_insert(volume))
        }
        ("DELETE", ["volumes", name]) => match state.volumes.remove(*name) {
            Some(_) => (204, Vec::new()),
            None => not_found(),
        },
        ("GET", ["containers", "json"]) => {
            let wanted = request.labels();
            let has = |container: &&Container| wanted.iter().all(|label| has_label(&container.body, label));
            let list = state.containers.values().filter(has);
            json_answer(200, &list.map(|container| json!({"Id": container.id})).collect())
        }
        ("POST", ["containers", "create"]) => {
            let name = request.query("name");
            if state.containers.contains_key(&name) {
                return json_answer(409, &json!({"message": "the name is taken"}));
            }
            state.made += 1;
            let container = Container {
                id: format!("{:064x}", state.made),
                body: body(),
                running: false,
                started: false,
                files: BTreeMap::new(),
            };
            let id = container.id.clone();
            state.containers.insert(name, container);
            json_answer(201, &json!({"Id": id, "Warnings": []}))
        }
        ("POST", ["exec", ..]) => (200, Vec::new()),
        ("GET", ["exec", ..]) => json_answer(200, &json!({"ExitCode": 0, "Running": false})),
        (method, ["containers", which, rest @ ..]) => {
            let named = state
                .containers
                .iter()
                .find(|(name, container)| *name == which || container.id == *which);
            let Some(name) = named.map(|(name, _)| name.clone()) else {
                return not_found();
            };
            of_container(state, request, method, &name, rest)
        }
        _ => json_answer(
            501,
            &json!({"message": format!("not asked for yet: {} {}", request.method, request.path)}),
        ),
    }
}

fn of_container(state: &mut State, request: &Request, method: &str, name: &str, rest: &[&str]) -> (u16, Vec<u8>) {
    let Some(container) = state.containers.get_mut(name) else {
        return (404, Vec::new());
    };
    match (method, rest) {
        ("GET", ["json"]) => json_answer(200, &inspected(name, container)),
        ("POST", ["start"]) => {
            (container.running, container.started) = (true, true);
            (204, Vec::new())
        }
        ("POST", ["stop"]) => {
            container.running = false;
            (204, Vec::new())
        }
        ("DELETE", []) => {
            state.containers.remove(name);
            (204, Vec::new())
        }
        ("PUT", ["archive"]) => {
            for entry in tar::Archive::new(request.body.as_slice()).entries().unwrap() {
                let mut entry = entry.unwrap();
                if entry.header().entry_type().is_file() {
                    let path = format!("/{}", entry.path().unwrap().display());
                    let mut bytes = Vec::new();
                    entry.read_to_end(&mut bytes).unwrap();
                    container.files.insert(path, (entry.header().mode().unwrap(), bytes));
                }
            }
            (200, Vec::new())
        }
        ("GET", ["archive"]) => match container.files.get(&request.query("path")) {
            Some((mode, bytes)) => (200, archive(*mode, bytes)),
            None => json_answer(404, &json!({"message": "no such file"})),
        },
        ("POST", ["exec"]) if container.running => {
            let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
            let words = body["Cmd"].as_array().into_iter().flatten();
            let command: Vec<String> = words.filter_map(|word| word.as_str().map(str::to_owned)).collect();
            ran(container, &command.join(" "));
            state.execs.push((name.to_owned(), command));
            json_answer(201, &json!({"Id": state.execs.len().to_string()}))
        }
        ("POST", ["exec"]) => json_answer(409, &json!({"message": "the container does not run"})),
        ("GET", ["logs"]) => (200, Vec::new()),
        _ => json_answer(
            501,
            &json!({"message": format!("not asked for yet: {method} {}", request.path)}),
        ),
    }
}

/// What a command leaves behind. It has run when its start is answered.
fn ran(container: &mut Container, command: &str) {
    let mut file = |path: &str, text: &str| container.files.insert(path.to_owned(), (0o600, text.into()));
    if command.contains("kubeadm init") {
        for name in [
            "ca.crt",
            "ca.key",
            "sa.pub",
            "sa.key",
            "front-proxy-ca.crt",
            "front-proxy-ca.key",
            "etcd/ca.crt",
            "etcd/ca.key",
        ] {
            file(&format!("/etc/kubernetes/pki/{name}"), name);
        }
    }
    if command.contains("kubeadm init") || command.contains("kubeadm join") {
        file(loko_cluster::nodes::INITIALISED, "");
    }
}

fn has_label(body: &Value, wanted: &str) -> bool {
    let (key, value) = wanted.split_once('=').unwrap_or((wanted, ""));
    let found = body["Labels"].get(key).and_then(Value::as_str);
    found.is_some_and(|found| value.is_empty() || found == value)
}

fn inspected(name: &str, container: &Container) -> Value {
    let status = match (container.running, container.started) {
        (true, _) => "running",
        (false, true) => "exited",
        (false, false) => "created",
    };
    let body = &container.body;
    json!({
        "Id": container.id,
        "Name": format!("/{name}"),
        "Image": "sha256:0",
        "State": {"Status": status, "Running": container.running, "ExitCode": 0},
        "Config": {"Image": body["Image"], "Labels": body["Labels"], "Env": body["Env"]},
        "HostConfig": {"PortBindings": body["HostConfig"]["PortBindings"]},
        "NetworkSettings": {"Networks": body["NetworkingConfig"]["EndpointsConfig"]},
    })
}

fn archive(mode: u32, bytes: &[u8]) -> Vec<u8> {
    let mut header = tar::Header::new_gnu();
    header.set_mode(mode);
    header.set_size(bytes.len() as u64);
    let mut tar = tar::Builder::new(Vec::new());
    tar.append_data(&mut header, "file", bytes).unwrap();
    tar.into_inner().unwrap()
}

fn json_answer(status: u16, value: &Value) -> (u16, Vec<u8>) {
    (status, value.to_string().into_bytes())
}
