//! What users run: how it is reached and taken away, what waits for what, what fails early, edits, scaling, and fifty at once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use crate::environment::{Environment, Place};
use crate::ports::ping;
use crate::run::eventually;
use crate::suite::Suite;
use crate::{Test, Topic};

pub(crate) const TOPIC: Topic = Topic {
    name: "apps",
    tests: &[
        Test("one_that_depends_on_another_comes_after_it", &["kubectl"], depends_on),
        Test("an_image_that_is_not_there_fails_with_the_evidence", &[], no_image),
        Test("an_edit_changes_just_that_object", &["kubectl"], edited),
        Test("it_is_scaled_by_its_load", &["curl", "dig", "kubectl"], scaled),
        Test("fifty_are_applied_and_a_second_run_writes_nothing", &["kubectl"], fifty),
        Test("endpoints_and_health_name_every_way_in", &[], endpoints),
        Test(
            "undeployed_it_is_gone_and_deployed_it_is_back",
            &["kubectl"],
            undeployed,
        ),
        Test("removed_it_keeps_its_data_unless_told_otherwise", &["kubectl"], removed),
        Test(
            "a_rotated_secret_is_followed_and_the_old_one_is_refused",
            &["kubectl"],
            rotated,
        ),
    ],
};

const NAMESPACE: &str = "loko-workloads";

pub(crate) fn environment(place: &Place) -> Environment {
    let yaml = "name: e2e-apps
network:
  ip: 127.0.0.21
  domain: apps.loko.test
components:
  haproxy: {version: \"3.0.11\"}
registry: {enabled: true, storage: 1Gi}
workloads:
  user:
    - name: whoami
      image: mccutchen/go-httpbin:2.25.0
      http: {port: 8080}
      resources: {requests: {cpu: 20m}}
      env: {A: one}
    - name: cache
      image: valkey/valkey:8.1
      ports: [6379]
      storage: 1Gi
";
    Environment::new(place, "e2e-apps", "apps.loko.test", "127.0.0.21", yaml.to_owned())
}

/// loko.yaml as it was first, and more workloads.
fn write(apps: &Environment, more: &str) {
    apps.write(&format!("{}{more}", apps.yaml));
}

/// Brings it to what its loko.yaml was first.
#[track_caller]
fn up(suite: &Suite) -> &Environment {
    let apps = &suite.apps;
    apps.up();
    apps.write(&apps.yaml);
    apps.loko("create").ok();
    apps
}

fn endpoints(suite: &Suite) {
    let apps = up(suite);
    let all = apps.loko("workloads endpoints -o json").ok().json();
    let expected = json!([
        {
            "workload": "whoami", "protocol": "https", "address": "https://whoami.apps.loko.test",
            "service": "whoami.loko-workloads.svc.cluster.local:8080",
        },
        {
            "workload": "cache", "protocol": "tcp", "address": "cache.apps.loko.test:6379",
            "service": "cache.loko-workloads.svc.cluster.local:6379",
        },
    ]);
    assert_eq!(all, expected);
    let health = apps.loko("workloads health -o json").ok().json();
    assert_eq!(
        health[0]["answers"]["https://whoami.apps.loko.test"], true,
        "{health:#}"
    );
    assert_eq!(
        health[1]["answers"]["tcp://cache.apps.loko.test:6379"], true,
        "{health:#}"
    );
    assert_eq!(health[1]["state"], "up", "{health:#}");
    apps.loko("workloads connect cache")
        .ok()
        .says("tcp://cache.apps.loko.test:6379");
}

fn undeployed(suite: &Suite) {
    let apps = up(suite);
    assert_eq!(ping_of(apps, "SET kept yes"), "OK");
    let file = fs_err::read_to_string(&apps.file).unwrap();
    apps.loko("workloads undeploy cache").ok();
    assert_eq!(fs_err::read_to_string(&apps.file).unwrap(), file);
    let left = apps
        .kubectl("get all,ingressroutetcps --namespace loko-workloads -o name")
        .ok();
    assert!(
        !left.stdout.contains("set.apps/cache") && !left.stdout.contains("tcp.traefik.io/cache"),
        "{left}"
    );
    apps.loko("workloads health cache").ends_with(4).says("cache");
    apps.loko("workloads undeploy cache").ok().says("is not in the cluster");
    apps.loko("workloads deploy cache").ok();
    eventually(Duration::from_mins(1), "it has its data again", || {
        let value = ping_of(apps, "GET kept");
        if value == "yes" { Ok(()) } else { Err(value) }
    });
    apps.loko("workloads deploy nobody").ends_with(2).says("whoami");
}

/// What valkey-cli in the pod says.
#[track_caller]
fn ping_of(apps: &Environment, words: &str) -> String {
    let answer = apps
        .kubectl("exec --namespace loko-workloads cache-0 -- valkey-cli")
        .words(words)
        .any();
    answer.text().to_owned()
}

fn object(apps: &Environment, kind: &str, name: &str) -> Value {
    let found = apps.kubectl(&format!("get {kind} {name} --namespace {NAMESPACE} -o json"));
    found.ok().json()
}

fn depends_on(suite: &Suite) {
    let apps = up(suite);
    let more = "    - name: first
      image: mccutchen/go-httpbin:2.25.0
      http: {port: 8080}
      readinessProbe: {httpGet: {path: /status/200, port: 8080}, initialDelaySeconds: 4, periodSeconds: 1}
    - name: second
      image: mccutchen/go-httpbin:2.25.0
      http: {port: 8080}
      depends-on: [first]
";
    write(apps, more);
    apps.loko("create").ok();
    let first = object(apps, "deployment", "first");
    let conditions = first["status"]["conditions"].as_array().unwrap();
    let available = conditions
        .iter()
        .find(|condition| condition["type"] == "Available")
        .unwrap();
    let second = object(apps, "deployment", "second");
    let (ready, made) = (
        &available["lastTransitionTime"],
        &second["metadata"]["creationTimestamp"],
    );
    assert!(
        made.as_str() >= ready.as_str(),
        "made at {made}, the other ready at {ready}"
    );
    suite.settled(apps);
}

fn no_image(suite: &Suite) {
    let apps = up(suite);
    // Our own registry says that it has none, as every registry does; one that cannot be reached would be waited for.
    let image = format!("{}/nobody/none:1", apps.host("cr"));
    write(apps, &format!("    - {{name: absent, image: \"{image}\"}}\n"));
    // It is known after a quarter of a minute, and is not what a start of the node is waited for.
    let create = apps.loko("create").limit(Duration::from_secs(100)).ends_with(4);
    create
        .says("the workload absent failed")
        .says("is not found, or may not be had")
        .says(&format!(
            "{image} was looked for at {}, the registry of this environment",
            apps.host("cr")
        ));
    // What else is there goes on, and the next run mends it.
    apps.write(&apps.yaml);
    apps.loko("create").ok();
    suite.settled(apps);
}

/// What tells whether somebody wrote an object: of all that LoKO applied, by kind, namespace and name as plans write them.
#[track_caller]
fn versions(apps: &Environment) -> BTreeMap<String, String> {
    let kinds = "deployments,statefulsets,daemonsets,services,configmaps,secrets,ingresses,ingressroutetcps,persistentvolumeclaims";
    let all = apps
        .kubectl(&format!("get {kinds} --all-namespaces -o json"))
        .ok()
        .json();
    let all = all["items"].as_array().cloned().unwrap_or_default();
    let is_ours = |object: &Value| {
        !object["metadata"]["labels"]["dev.loko.part"].is_null() || object["kind"] == "PersistentVolumeClaim"
    };
    all.into_iter()
        .filter(is_ours)
        .map(|object| {
            let metadata = &object["metadata"];
            let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let name = format!(
                "{} {}/{}",
                word(&object["kind"]),
                word(&metadata["namespace"]),
                word(&metadata["name"])
            );
            // Where the specification is counted by itself the status is another's.
            let version = if metadata["generation"].is_null() {
                &metadata["resourceVersion"]
            } else {
                &metadata["generation"]
            };
            (name, format!("{} {version}", metadata["uid"]))
        })
        .collect()
}

/// An edit of loko.yaml: what is replaced, by what, the objects that change for it, and whether pods are made anew.
type EditOf = (&'static str, &'static str, &'static [&'static str], bool);

const EDITS: [EditOf; 5] = [
    (
        "image: mccutchen/go-httpbin:2.25.0",
        "image: mccutchen/go-httpbin:edited",
        &["Deployment loko-workloads/whoami"],
        true,
    ),
    (
        "env: {A: one}",
        "env: {A: two}",
        &["Deployment loko-workloads/whoami"],
        true,
    ),
    (
        "env: {A: one}",
        "env: {A: one}\n      replicas: 2",
        &["Deployment loko-workloads/whoami"],
        false,
    ),
    (
        "ports: [6379]",
        "args: [valkey-server, --port, \"6380\"]\n      ports: [6380]",
        &[
            "IngressRouteTCP loko-workloads/cache-tcp-6379",
            "IngressRouteTCP loko-workloads/cache-tcp-6380",
            "Service loko-system/traefik-internal",
            "Service loko-workloads/cache",
            "StatefulSet loko-workloads/cache",
        ],
        true,
    ),
    (
        "storage: 1Gi\n",
        "storage: 2Gi\n",
        &["StatefulSet loko-workloads/cache"],
        false,
    ),
];

fn edited(suite: &Suite) {
    let apps = up(suite);
    load_as(apps, "mccutchen/go-httpbin:2.25.0", "mccutchen/go-httpbin:edited");
    for (old, new, objects, renews_pods) in EDITS {
        apps.write(&apps.yaml);
        apps.loko("create").ok();
        let (before, pod) = (versions(apps), object(apps, "pod", "cache-0"));
        // The last of them is the workload's: the registry has a size as well.
        let at = apps.yaml.rfind(old).unwrap();
        let (head, tail) = apps.yaml.split_at(at);
        apps.write(&format!("{head}{}", tail.replacen(old, new, 1)));
        let plan = apps.loko("diff -o json").ends_with(1).json();
        assert_eq!(versions(apps), before, "a look at what would be done changes nothing");
        apps.loko("create").ok();
        let after = versions(apps);
        let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
        let changed: Vec<&String> = names
            .into_iter()
            .filter(|name| before.get(*name) != after.get(*name))
            .collect();
        assert_eq!(changed, objects, "{new}");
        let said: Vec<&Value> = plan["changes"].as_array().unwrap().iter().collect();
        let said: Vec<&Value> = said.into_iter().filter(|change| change["step"] == "apply").collect();
        let said_names: BTreeSet<&str> = said.iter().filter_map(|change| change["what"].as_str()).collect();
        assert_eq!(said_names.into_iter().collect::<Vec<_>>(), objects, "{plan:#}");
        let restarts = said.iter().any(|change| change["effect"] == "restarts-component");
        assert_eq!(restarts, renews_pods, "{plan:#}");
        let is_another = object(apps, "pod", "cache-0")["metadata"]["uid"] != pod["metadata"]["uid"];
        assert_eq!(is_another, renews_pods && objects.len() > 1, "{new}");
        suite.settled(apps);
    }
    up(suite);
}

/// Gives an image of the engine a second name, and puts it into the nodes.
#[track_caller]
fn load_as(apps: &Environment, image: &str, name: &str) {
    let node = apps.node();
    crate::run::Run::new("docker")
        .args([
            "exec",
            &node,
            "ctr",
            "--namespace",
            "k8s.io",
            "images",
            "tag",
            "--force",
        ])
        .args([format!("docker.io/{image}"), format!("docker.io/{name}")])
        .ok();
}

fn removed(suite: &Suite) {
    let apps = up(suite);
    ping_of(apps, "SET kept yes");
    apps.loko("workloads remove cache --keep-data --now --yes").ok();
    let claims = || {
        apps.kubectl("get persistentvolumeclaims --namespace loko-workloads -o name")
            .ok()
            .stdout
    };
    assert!(claims().contains("cache"), "{}", claims());
    up(suite);
    assert_eq!(ping_of(apps, "GET kept"), "yes");
    apps.loko("workloads remove cache --data --yes").ok();
    let text = fs_err::read_to_string(&apps.file).unwrap();
    assert!(!text.contains("cache"), "{text}");
    eventually(Duration::from_mins(2), "its claim is gone", || {
        let left = claims();
        if left.contains("cache") { Err(left) } else { Ok(()) }
    });
    up(suite);
    assert_eq!(ping(&apps.address, "6379"), "PONG");
    assert_eq!(ping_of(apps, "GET kept"), "");
}

/// An entry of the user's own, which reads its password at each start.
const VAULT: &str = "description: Vault, a store with a password
category: cache
image: valkey/valkey
version: \"8.1\"
ports: [6380]
secrets: {password: {kind: password}}
rotation: restart
env: {PASSWORD: {secret: password}}
command: [sh, -c, 'printf \"requirepass %s\\n\" \"$PASSWORD\" | exec valkey-server - --port 6380']
connections: {cli: 'valkey-cli -h %{host} -p %{port.6380}'}
";

fn rotated(suite: &Suite) {
    let apps = up(suite);
    let entries = apps.place.loko_home().join("catalogue");
    fs_err::create_dir_all(&entries).unwrap();
    fs_err::write(entries.join("vault.yaml"), VAULT).unwrap();
    apps.write(
        &apps
            .yaml
            .replace("workloads:\n", "workloads:\n  system:\n    - name: vault\n"),
    );
    apps.loko("create").ok();
    let password = || {
        let shown = apps.loko("secrets show vault --reveal -o json").ok().json();
        shown["vault"]["password"].as_str().unwrap().to_owned()
    };
    let ask = |password: &str| {
        let exec = "exec --namespace loko-workloads deployment/vault -- valkey-cli --no-auth-warning -p 6380";
        let answer = apps.kubectl(exec).args(["-a", password, "ping"]).any();
        format!("{}{}", answer.stdout, answer.stderr)
    };
    let before = password();
    assert_eq!(ask(&before).trim(), "PONG");
    apps.loko("secrets show vault").ok().says("••••");
    apps.loko("secrets rotate vault --yes").ok();
    let after = password();
    assert_ne!(before, after);
    eventually(Duration::from_mins(1), "the new one is taken", || {
        let answer = ask(&after);
        if answer.trim() == "PONG" { Ok(()) } else { Err(answer) }
    });
    assert!(!ask(&before).contains("PONG"), "{}", ask(&before));
    suite.settled(apps);
    apps.loko("secrets rotate cache --yes")
        .ends_with(2)
        .says("has no secrets");
    up(suite);
}

fn scaled(suite: &Suite) {
    let apps = up(suite);
    apps.apply(&json!({
        "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "whoami", "namespace": NAMESPACE},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "whoami"},
            "minReplicas": 1, "maxReplicas": 3,
            "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 20}}}],
        },
    }));
    let host = apps.host("whoami");
    let request = || {
        apps.curl(&host).args([
            "--parallel",
            "--output",
            "/dev/null",
            &format!("https://{host}/bytes/20000?seed=[1-400]"),
        ])
    };
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                request().any();
            }
        });
        let wait = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            eventually(Duration::from_mins(4), "it is scaled", || {
                let scaler = object(apps, "horizontalpodautoscaler", "whoami");
                let replicas = object(apps, "deployment", "whoami")["spec"]["replicas"]
                    .as_u64()
                    .unwrap_or_default();
                if replicas >= 2 {
                    Ok(())
                } else {
                    Err(scaler["status"].to_string())
                }
            });
        }));
        is_over.store(true, Ordering::Relaxed);
        if let Err(panic) = wait {
            std::panic::resume_unwind(panic);
        }
    });
    // What the autoscaler says stays: loko.yaml has not changed.
    apps.loko("create").ok();
    let replicas = object(apps, "deployment", "whoami")["spec"]["replicas"].as_u64();
    assert!(replicas >= Some(2), "{replicas:?}");
    apps.kubectl("delete horizontalpodautoscaler whoami --namespace loko-workloads")
        .ok();
}

/// How often the API was asked, by the method, as loko itself logs it.
fn calls(said: &str) -> BTreeMap<String, usize> {
    let mut calls = BTreeMap::new();
    for line in said.lines().filter(|line| line.contains("requesting")) {
        let method = line
            .split("http.method=")
            .nth(1)
            .and_then(|rest| rest.split([' ', '}']).next());
        *calls.entry(method.unwrap_or("?").to_owned()).or_default() += 1;
    }
    calls
}

fn fifty(suite: &Suite) {
    let apps = up(suite);
    let one = |number: u8| {
        format!("    - {{name: many-{number}, image: \"mccutchen/go-httpbin:2.25.0\", http: {{port: 8080}}}}\n")
    };
    let more = (0..50).map(one).collect::<Vec<_>>().concat();
    write(apps, &more);
    let log = "kube_client=debug";
    let first = apps.loko("create").env("LOKO_LOG", log).ok();
    let made = apps.kubectl("get deployments --namespace loko-workloads -o name").ok();
    assert_eq!(made.stdout.matches("/many-").count(), 50, "{made}");
    let second = apps.loko("create").env("LOKO_LOG", log).ok();
    second.says("nothing to do");
    let (first_calls, second_calls) = (calls(&first.stderr), calls(&second.stderr));
    println!(
        "fifty workloads: {:.1} s, {first_calls:?}; again: {:.1} s, {second_calls:?}",
        first.elapsed.as_secs_f64(),
        second.elapsed.as_secs_f64()
    );
    assert!(
        first_calls.get("PATCH").is_some_and(|count| *count >= 150),
        "{first_calls:?}"
    );
    let writes: usize = ["POST", "PUT", "PATCH", "DELETE"]
        .iter()
        .filter_map(|method| second_calls.get(*method))
        .sum();
    assert_eq!(writes, 0, "{second_calls:?}");
    assert!(
        second_calls.get("GET").is_some_and(|count| *count > 0),
        "{second_calls:?}"
    );
    up(suite);
}
