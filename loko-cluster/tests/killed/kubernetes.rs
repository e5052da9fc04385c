//! A Kubernetes API server in memory: what LoKO asks of one, over HTTP. Objects are kept as they are sent: there are no defaults, no
//! schemas and no controllers. At a request of the test's choice whoever asks is cut off, or refused once.

mod fields;

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::Notify;

use crate::engine::Cut;
use crate::http::{self, Request};

/// Groups that a cluster has from birth; others come with their definitions.
const BUILT_IN: [&str; 9] = [
    "v1",
    "apps/v1",
    "batch/v1",
    "rbac.authorization.k8s.io/v1",
    "storage.k8s.io/v1",
    "apiregistration.k8s.io/v1",
    "apiextensions.k8s.io/v1",
    "networking.k8s.io/v1",
    "policy/v1",
];
/// How many requests pass until a kind is served that was defined.
const UNSERVED: usize = 2;

/// What befalls whoever asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// They are killed: nothing that they ask after that is heard.
    Killed(Cut),
    /// Their connection breaks at one request.
    Reset(Cut),
    /// One request, by its number, is refused with a status.
    Refused(usize, u16),
    /// Every request from that number on is.
    RefusedFrom(usize, u16),
    /// None is answered any more, from that number on.
    SilentFrom(usize),
}

/// Where an object is: group and version, plural, namespace, name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    group: String,
    plural: String,
    namespace: String,
    name: String,
}

#[derive(Debug, Default)]
struct State {
    objects: BTreeMap<Place, Value>,
    /// What was changed, for who watches: version, `ADDED`, `MODIFIED` or `DELETED`, place, object.
    events: Vec<(u64, &'static str, Place, Value)>,
    /// Node ports that a request reserved which was cut off.
    reserved: Vec<Value>,
    /// By kind that was defined: from which request of all on it is served.
    served: BTreeMap<Place, usize>,
    version: u64,
    all_requests: usize,
    requests: usize,
    writes: Vec<String>,
    trouble: Option<Trouble>,
    dead: bool,
    stopped: bool,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    killed: Notify,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An API server that forgets everything when it is dropped.
#[derive(Debug)]
pub(crate) struct Kubernetes {
    shared: Arc<Shared>,
    port: u16,
}

impl Kubernetes {
    pub(crate) fn new() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared::default());
        let of_server = Arc::clone(&shared);
        std::thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                let shared = Arc::clone(&of_server);
                if shared.state().stopped {
                    return;
                }
                std::thread::spawn(move || serve(&shared, connection));
            }
        });
        let kubernetes = Self { shared, port };
        for name in ["default", "kube-system"] {
            let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
            kubernetes.put("v1", "namespaces", &namespace);
        }
        kubernetes
    }

    /// With a list of authorities that is empty: the machine's own take long to read, and nothing is encrypted here.
    pub(crate) fn kubeconfig(&self) -> String {
        format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: a\n\
             clusters: [{{name: a, cluster: {{server: 'http://127.0.0.1:{}', certificate-authority-data: Cg==}}}}]\n\
             users: [{{name: a, user: {{}}}}]\ncontexts: [{{name: a, context: {{cluster: a, user: a}}}}]\n",
            self.port
        )
    }

    /// What befalls the next run; counts from here.
    pub(crate) fn meet(&self, trouble: Option<Trouble>) {
        let mut state = self.shared.state();
        (state.trouble, state.dead, state.requests) = (trouble, false, 0);
        state.writes.clear();
    }

    /// Resolves when whoever asks is to be killed.
    pub(crate) async fn killed(&self) {
        self.shared.killed.notified().await;
    }

    /// Requests since [`Self::meet`].
    pub(crate) fn requests(&self) -> usize {
        self.shared.state().requests
    }

    /// Those of them that were to change something, with their paths.
    pub(crate) fn writes(&self) -> Vec<String> {
        self.shared.state().writes.clone()
    }

    /// An object as somebody else writes it: a person, or a controller.
    pub(crate) fn put(&self, group: &str, plural: &str, object: &Value) {
        let mut state = self.shared.state();
        let place = place_of(group, plural, object);
        let then = match state.objects.get(&place) {
            Some(there) => fields::updated(there, fields::merged(there.clone(), object), "somebody"),
            None => fields::updated(&json!({}), object.clone(), "somebody"),
        };
        store(&mut state, place, then);
        self.shared.changed.notify_all();
    }

    /// All objects, but what another run would number otherwise.
    pub(crate) fn everything(&self) -> BTreeMap<String, Value> {
        let state = self.shared.state();
        let objects = state.objects.iter().map(|(place, object)| {
            let mut object = object.clone();
            for field in ["uid", "resourceVersion", "generation"] {
                object["metadata"].as_object_mut().unwrap().remove(field);
            }
            (format!("{} {}/{}", place.plural, place.namespace, place.name), object)
        });
        objects.collect()
    }
}

impl Drop for Kubernetes {
    fn drop(&mut self) {
        self.shared.state().stopped = true;
        self.shared.changed.notify_all();
        // Wakes the thread that accepts.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

fn place_of(group: &str, plural: &str, object: &Value) -> Place {
    let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default().to_owned();
    Place {
        group: group.to_owned(),
        plural: plural.to_owned(),
        namespace: text("namespace"),
        name: text("name"),
    }
}

fn serve(shared: &Shared, mut connection: TcpStream) {
    let Some(request) = http::read(&mut connection) else {
        return;
    };
    let answer = {
        let mut state = shared.state();
        if state.dead {
            return;
        }
        state.all_requests += 1;
        state.requests += 1;
        let number = state.requests;
        match state.trouble {
            Some(Trouble::Killed(cut @ (Cut::Before(at) | Cut::After(at)))) if at == number => {
                match cut {
                    Cut::Before(_) => leave_reserved(&mut state, &request),
                    Cut::After(_) => drop(answer(&mut state, &request)),
                }
                state.dead = true;
                shared.killed.notify_one();
                return;
            }
            Some(Trouble::Reset(Cut::Before(at))) if at == number => return leave_reserved(&mut state, &request),
            Some(Trouble::Reset(Cut::After(at))) if at == number => return drop(answer(&mut state, &request)),
            Some(Trouble::Refused(at, status)) if at == number => refused(status, "not now"),
            Some(Trouble::SilentFrom(at)) if at <= number => {
                // For as long as the other end waits.
                drop(state);
                let _ = connection.read(&mut [0]);
                return;
            }
            Some(Trouble::RefusedFrom(at, status)) if at <= number => refused(status, "not any more"),
            _ => answer(&mut state, &request),
        }
    };
    shared.changed.notify_all();
    match answer {
        (200, _) if request.query("watch") == "true" => watch(shared, &request, &mut connection),
        answer => http::write(&mut connection, answer),
    }
    let _ = connection.shutdown(Shutdown::Both);
}

/// The API server allocates node ports before it stores a Service, and where an apply that creates is cut off in between they stay
/// reserved for minutes.
fn leave_reserved(state: &mut State, request: &Request) {
    if let Some((place, true)) = request.place()
        && request.method == "PATCH"
        && place.plural == "services"
        && !state.objects.contains_key(&place)
    {
        let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
        state.reserved.extend(node_ports(&body));
    }
}

fn node_ports(service: &Value) -> Vec<Value> {
    let ports = service["spec"]["ports"].as_array().into_iter().flatten();
    ports.filter_map(|port| port.get("nodePort").cloned()).collect()
}

impl Request {
    /// What a path names, and whether that is one object rather than all of a kind.
    fn place(&self) -> Option<(Place, bool)> {
        let parts: Vec<&str> = self.path.trim_matches('/').split('/').collect();
        let (group, rest) = match parts.as_slice() {
            ["api", version, rest @ ..] => ((*version).to_owned(), rest),
            ["apis", group, version, rest @ ..] => (format!("{group}/{version}"), rest),
            _ => return None,
        };
        let (namespace, plural, name) = match rest {
            ["namespaces", namespace, plural] => (*namespace, *plural, None),
            ["namespaces", namespace, plural, name] => (*namespace, *plural, Some(*name)),
            [plural] => ("", *plural, None),
            [plural, name] => ("", *plural, Some(*name)),
            _ => return None,
        };
        let place = Place {
            group,
            plural: plural.to_owned(),
            namespace: namespace.to_owned(),
            name: name.unwrap_or_default().to_owned(),
        };
        Some((place, name.is_some()))
    }

    /// Whether an object at a place is among what a list or a watch asks for.
    fn selects(&self, of: &Place, place: &Place, object: &Value) -> bool {
        let label = |wanted: &str| {
            let (key, value) = wanted.split_once('=').unwrap_or((wanted, ""));
            let found = object["metadata"]["labels"].get(key).and_then(Value::as_str);
            found.is_some_and(|found| value.is_empty() || value == found)
        };
        let (labels, field) = (self.query("labelSelector"), self.query("fieldSelector"));
        (of.group == place.group && of.plural == place.plural)
            && (of.namespace.is_empty() || of.namespace == place.namespace)
            && labels.split(',').filter(|one| !one.is_empty()).all(label)
            && field
                .strip_prefix("metadata.name=")
                .is_none_or(|name| name == place.name)
    }
}

type Answer = (u16, Vec<u8>);

fn good(status: u16, value: &Value) -> Answer {
    (status, value.to_string().into_bytes())
}

fn refused(code: u16, message: &str) -> Answer {
    // Clients go by the reason where there is one (`metav1.StatusReason`).
    let reason = match code {
        404 => "NotFound",
        409 => "Conflict",
        422 => "Invalid",
        _ => "Unknown",
    };
    let status = json!({"apiVersion": "v1", "kind": "Status", "status": "Failure", "reason": reason,
        "message": message, "code": code});
    good(code, &status)
}

fn answer(state: &mut State, request: &Request) -> Answer {
    let Some((place, is_object)) = request.place() else {
        return refused(501, &format!("not asked for yet: {}", request.path));
    };
    let is_dry = request.query("dryRun") == "All";
    if request.method != "GET" && !is_dry {
        state.writes.push(format!("{} {}", request.method, request.path));
    }
    if !is_served(state, &place) {
        return refused(404, "the server could not find the requested resource");
    }
    let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
    let there = state.objects.get(&place).cloned();
    let manager = request.query("fieldManager");
    let not_found = || refused(404, &format!("{} \"{}\" not found", place.plural, place.name));
    match (request.method.as_str(), is_object) {
        ("GET", false) => {
            let found = state.objects.iter().filter(|(at, it)| request.selects(&place, at, it));
            let items: Vec<Value> = found
                .map(|(_, object)| {
                    let mut object = object.clone();
                    let fields = object.as_object_mut().unwrap();
                    fields.retain(|name, _| name != "apiVersion" && name != "kind");
                    object
                })
                .collect();
            let version = state.version.to_string();
            good(
                200,
                &json!({"kind": "List", "apiVersion": place.group, "metadata": {"resourceVersion": version}, "items": items}),
            )
        }
        ("GET", true) => there.map_or_else(not_found, |object| good(200, &object)),
        ("POST", false) => {
            let place = place_of(
                &place.group,
                &place.plural,
                &json!({"metadata":
                {"name": body["metadata"]["name"], "namespace": place.namespace}}),
            );
            if state.objects.contains_key(&place) {
                return refused(409, &format!("{} \"{}\" already exists", place.plural, place.name));
            }
            let then = fields::updated(&json!({}), body, &manager);
            change(state, place, None, then, is_dry)
        }
        ("PATCH", true) if request.header("content-type").starts_with("application/apply-patch") => {
            let then = fields::applied(there.as_ref(), &body, &manager);
            change(state, place, there.as_ref(), then, is_dry)
        }
        ("PATCH", true) => {
            let Some(there) = there else { return not_found() };
            let version = &body["metadata"]["resourceVersion"];
            if !version.is_null() && *version != there["metadata"]["resourceVersion"] {
                return refused(
                    409,
                    "the object has been modified; please apply your changes to the latest version",
                );
            }
            let then = fields::updated(&there, fields::merged(there.clone(), &body), &manager);
            change(state, place, Some(&there), then, is_dry)
        }
        ("DELETE", true) => match there {
            Some(there) => {
                remove(state, &place, body["propagationPolicy"] != "Orphan");
                good(200, &there)
            }
            None => not_found(),
        },
        _ => refused(501, &format!("not asked for yet: {} {}", request.method, request.path)),
    }
}

fn is_served(state: &State, place: &Place) -> bool {
    BUILT_IN.contains(&place.group.as_str())
        || state.objects.iter().any(|(at, definition)| {
            let spec = &definition["spec"];
            let from = state.served.get(at).copied().unwrap_or_default();
            at.plural == "customresourcedefinitions"
                && place.group.split('/').next() == spec["group"].as_str()
                && spec["names"]["plural"].as_str() == Some(place.plural.as_str())
                && state.all_requests >= from
        })
}

/// Checks an object as the API server does, and stores it.
fn change(state: &mut State, place: Place, there: Option<&Value>, then: Value, is_dry: bool) -> Answer {
    let namespace = Place {
        group: "v1".to_owned(),
        plural: "namespaces".to_owned(),
        namespace: String::new(),
        name: place.namespace.clone(),
    };
    if !place.namespace.is_empty() && !state.objects.contains_key(&namespace) {
        return refused(404, &format!("namespaces \"{}\" not found", place.namespace));
    }
    if let Some(there) = there
        && let Some(message) = immutable(&place, there, &then)
    {
        return refused(422, &message);
    }
    let others = state
        .objects
        .iter()
        .filter(|(at, _)| at.plural == "services" && **at != place);
    let mut held: Vec<Value> = others.flat_map(|(_, service)| node_ports(service)).collect();
    held.extend(state.reserved.iter().cloned());
    if let Some(port) = node_ports(&then).iter().find(|port| held.contains(port)) {
        let message = format!(
            "Service \"{}\" is invalid: spec.ports[0].nodePort: Invalid value: {port}: provided port is already allocated",
            place.name
        );
        return refused(422, &message);
    }
    if is_dry {
        return good(200, &then);
    }
    let status = if there.is_some() { 200 } else { 201 };
    good(status, &store(state, place, then))
}

/// What the API server says of a change that it never makes, in its words.
fn immutable(place: &Place, there: &Value, then: &Value) -> Option<String> {
    let differs = |pointer: &str| there.pointer(pointer) != then.pointer(pointer);
    match place.plural.as_str() {
        "deployments" | "daemonsets" if differs("/spec/selector") => {
            Some("spec.selector: Invalid value: {}: field is immutable".to_owned())
        }
        "statefulsets" if differs("/spec/volumeClaimTemplates") || differs("/spec/selector") => Some(
            "spec: Forbidden: updates to statefulset spec for fields other than 'replicas' are forbidden".to_owned(),
        ),
        _ => None,
    }
}

/// Stores what differs, numbered, and gives it.
fn store(state: &mut State, place: Place, mut then: Value) -> Value {
    let there = state.objects.get(&place);
    if there == Some(&then) {
        return then;
    }
    state.version += 1;
    let (version, is_new) = (state.version, there.is_none());
    let generation = there.map_or(1, |there| {
        let before = there["metadata"]["generation"].as_u64().unwrap_or_default();
        before + u64::from(there["spec"] != then["spec"])
    });
    if is_new {
        then["metadata"]["uid"] = format!("uid-{version}").into();
    }
    then["metadata"]["generation"] = generation.into();
    then["metadata"]["resourceVersion"] = version.to_string().into();
    if is_new && place.plural == "customresourcedefinitions" {
        state.served.insert(place.clone(), state.all_requests + UNSERVED);
    }
    let what = if is_new { "ADDED" } else { "MODIFIED" };
    state.events.push((version, what, place.clone(), then.clone()));
    state.objects.insert(place, then.clone());
    then
}

/// Takes an object away, and what cannot be without it: what is in a namespace, what is of a kind, what belongs to it unless it stays.
fn remove(state: &mut State, place: &Place, dependents_go: bool) {
    let Some(gone) = state.objects.remove(place) else {
        return;
    };
    state.version += 1;
    state
        .events
        .push((state.version, "DELETED", place.clone(), gone.clone()));
    let falls = |at: &Place, object: &Value| {
        let mut owners = object["metadata"]["ownerReferences"].as_array().into_iter().flatten();
        (place.plural == "namespaces" && at.namespace == place.name)
            || (place.plural == "customresourcedefinitions"
                && at.group.split('/').next() == gone["spec"]["group"].as_str()
                && Some(at.plural.as_str()) == gone["spec"]["names"]["plural"].as_str())
            || (dependents_go && owners.any(|owner| owner["uid"] == gone["metadata"]["uid"]))
    };
    let falling: Vec<Place> = state
        .objects
        .iter()
        .filter(|(at, object)| falls(at, object))
        .map(|(at, _)| at.clone())
        .collect();
    for place in falling {
        remove(state, &place, true);
    }
}

/// Tells what changes after the version that was asked for, for as long as the server runs. The end of the connection is the end of
/// the answer (RFC 9112, 6.3).
fn watch(shared: &Shared, request: &Request, connection: &mut TcpStream) {
    let head = "HTTP/1.1 200 -\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n";
    let Some((of, _)) = request.place() else { return };
    let mut told: u64 = request.query("resourceVersion").parse().unwrap_or_default();
    let mut lines = head.to_owned();
    loop {
        if connection.write_all(lines.as_bytes()).is_err() {
            return;
        }
        lines.clear();
        let mut state = shared.state();
        loop {
            if state.stopped || state.dead {
                return;
            }
            if state.version > told {
                break;
            }
            let waited = shared.changed.wait_timeout(state, Duration::from_millis(100));
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        let new = state.events.iter().filter(|(version, ..)| *version > told);
        for (_, what, place, object) in new {
            if request.selects(&of, place, object) {
                lines.push_str(&json!({"type": what, "object": object}).to_string());
                lines.push('\n');
            }
        }
        told = state.version;
    }
}
