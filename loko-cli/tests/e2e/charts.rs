//! Helm charts of our own: from a folder, a repository over HTTP, our own registry and git; upgraded, failed, cut off, mended,
//! taken away.

use std::ffi::OsString;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use crate::environment::{Environment, item};
use crate::run::{eventually, find};
use crate::suite::Suite;
use crate::{Test, Topic};

pub(crate) const TOPIC: Topic = Topic {
    name: "charts",
    tests: &[
        Test(
            "without_helm_it_is_said_before_anything_is_done",
            &["helm"],
            without_helm,
        ),
        Test(
            "one_from_a_folder_answers_by_name",
            &["helm", "curl", "dig", "kubectl"],
            folder,
        ),
        Test(
            "it_is_upgraded_only_where_something_changed",
            &["helm", "kubectl"],
            upgraded,
        ),
        Test(
            "one_that_fails_is_shown_with_its_log_and_mended",
            &["helm", "kubectl"],
            failed,
        ),
        Test("one_that_was_cut_off_is_mended", &["helm", "kubectl"], cut_off),
        Test(
            "a_hook_that_cannot_come_up_is_said_and_mended",
            &["helm", "kubectl"],
            broken_hook,
        ),
        Test("one_comes_from_a_repository_over_http", &["helm"], repository),
        Test("one_comes_from_our_own_registry", &["helm"], registry),
        Test("one_comes_from_git_at_a_tag", &["helm", "git"], git),
        Test("one_that_leaves_the_file_is_taken_away", &["helm", "kubectl"], removed),
    ],
};

const TEMPLATES: &str = r#"apiVersion: v1
kind: ConfigMap
metadata: {name: "{{ .Release.Name }}-settings"}
data: {{ .Values.settings | toJson }}
---
apiVersion: v1
kind: Service
metadata: {name: "{{ .Release.Name }}"}
spec: {selector: {app: "{{ .Release.Name }}"}, ports: [{port: 80, targetPort: 8080}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: "{{ .Release.Name }}-server"}
spec:
  replicas: {{ .Values.replicas }}
  selector: {matchLabels: {app: "{{ .Release.Name }}"}}
  template:
    metadata: {labels: {app: "{{ .Release.Name }}"}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
        - name: server
          image: {{ .Values.image }}
          imagePullPolicy: IfNotPresent
          {{- with .Values.command }}
          command: {{ toJson . }}
          {{- end }}
          readinessProbe: {httpGet: {path: /status/200, port: 8080}, periodSeconds: 1}
"#;
const VALUES: &str = "image: mccutchen/go-httpbin:2.25.0
replicas: 1
settings: {kept: from-the-chart, over: from-the-chart}
";
/// Waits for itself: the container serves until it is ended.
const HOOK: &str = r#"apiVersion: batch/v1
kind: Job
metadata: {name: "{{ .Release.Name }}-hook", annotations: {"helm.sh/hook": pre-upgrade}}
spec: {template: {spec: {restartPolicy: Never, containers: [{name: hook, image: "mccutchen/go-httpbin:2.25.0"}]}}}
"#;

/// Writes the chart, which is called `web`.
fn write_chart(directory: &Path, version: &str) {
    let _ = fs_err::remove_dir_all(directory);
    fs_err::create_dir_all(directory.join("templates")).unwrap();
    let about = format!("apiVersion: v2\nname: web\nversion: {version}\n");
    fs_err::write(directory.join("Chart.yaml"), about).unwrap();
    fs_err::write(directory.join("values.yaml"), VALUES).unwrap();
    fs_err::write(directory.join("templates/all.yaml"), TEMPLATES).unwrap();
}

/// Beside loko.yaml.
fn chart(apps: &Environment) -> PathBuf {
    apps.file.parent().unwrap().join("chart")
}

/// loko.yaml with a workload `web`, and `config` for it.
fn write(apps: &Environment, config: &str) {
    apps.write(&format!(
        "{}    - name: web\n      config: {config}\n      http: {{port: 80}}\n",
        apps.yaml
    ));
}

const FOLDER: &str = "{chart: ./chart, values: {replicas: 2, settings: {over: \"of ${LOKO_DOMAIN}\"}}}";

/// Brings it up with the chart in a folder, whatever was before.
#[track_caller]
fn up(suite: &Suite) -> &Environment {
    let apps = &suite.apps;
    apps.up();
    write_chart(&chart(apps), "0.1.0");
    write(apps, FOLDER);
    apps.loko("create").ok();
    apps
}

/// What `helm list` says of it.
#[track_caller]
fn listed(apps: &Environment) -> Value {
    // Helm 3 and 4 differ in what they list without a word.
    let list = helm(apps, "list --all-namespaces --deployed --failed --pending -o json")
        .ok()
        .json();
    let mut all = list.as_array().cloned().unwrap_or_default().into_iter();
    all.find(|release| release["name"] == "web").unwrap_or_default()
}

fn helm(apps: &Environment, words: &str) -> crate::run::Run {
    apps.place
        .run("helm")
        .args(["--kube-context", &apps.context()])
        .words(words)
}

#[track_caller]
fn revision(apps: &Environment) -> u64 {
    let release = listed(apps);
    assert_eq!(release["status"], "deployed", "{release}");
    release["revision"].as_str().and_then(|text| text.parse().ok()).unwrap()
}

fn without_helm(suite: &Suite) {
    let apps = &suite.apps;
    apps.up();
    write(apps, FOLDER);
    // The engine is found by its socket, so that not even `docker` is needed.
    let refused = apps.loko("create").env("PATH", &apps.place.home).ends_with(4);
    refused.says("`helm` is not on PATH").says("web").says("3.14");
    apps.write(&apps.yaml);
    suite.settled(apps);
}

fn folder(suite: &Suite) {
    let apps = up(suite);
    assert_eq!(revision(apps), 1);
    let settings = apps
        .kubectl("get configmap web-settings --namespace loko-workloads -o jsonpath={.data}")
        .ok()
        .json();
    assert_eq!(settings["kept"], "from-the-chart", "values are merged at every depth");
    assert_eq!(settings["over"], format!("of {}", apps.domain));
    let replicas = apps
        .kubectl("get deployment web-server --namespace loko-workloads -o jsonpath={.status.readyReplicas}")
        .ok();
    assert_eq!(replicas.text(), "2");
    apps.get(&apps.host("web"), "/headers");
    let status = apps.status();
    assert_eq!(item(&status, "workloads", "web")["state"], "up", "{status:#}");
    suite.settled(apps);
    // By its name, from elsewhere: the folder is still the one beside loko.yaml.
    let named = |words: &str| apps.place.loko().args(["-e", &apps.name]).dir("/").words(words);
    named("create").ok().says("nothing to do");
    named("diff").ok();
    assert_eq!(revision(apps), 1);
}

/// What a plan says of the objects of the chart: what is done, to which, and why.
#[track_caller]
fn foreseen(apps: &Environment) -> Vec<String> {
    let plan = apps.loko("diff -o json").ends_with(1).json();
    assert_eq!(plan["unknown"], serde_json::json!([]), "{plan:#}");
    let changes = plan["changes"].as_array().unwrap().iter();
    let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let of_chart = changes.filter(|change| word(&change["what"]).contains("the chart web"));
    of_chart
        .map(|change| {
            let [action, what, reason] = ["action", "what", "reason"].map(|field| word(&change[field]));
            format!("{action} {}: {reason}", what.trim_end_matches(" of the chart web"))
        })
        .collect()
}

fn upgraded(suite: &Suite) {
    let apps = up(suite);
    let before = revision(apps);
    let values = VALUES.replace("kept: from-the-chart", "kept: changed");
    fs_err::write(chart(apps).join("values.yaml"), values).unwrap();
    assert_eq!(foreseen(apps), ["update ConfigMap web-settings: data.kept"]);
    assert_eq!(revision(apps), before, "a look changes nothing");
    apps.loko("create").ok().says("upgrade the chart web");
    assert_eq!(revision(apps), before + 1);
    write(apps, &FOLDER.replace("replicas: 2", "replicas: 1"));
    assert_eq!(foreseen(apps), ["update Deployment web-server: spec.replicas: 2 → 1"]);
    apps.loko("create").ok();
    assert_eq!(revision(apps), before + 2);
    // Another workload changes, and this one does not.
    let file = fs_err::read_to_string(&apps.file).unwrap();
    apps.write(&file.replace("A: one", "A: two"));
    apps.loko("create").ok();
    suite.settled(apps);
    assert_eq!(revision(apps), before + 2);
}

fn failed(suite: &Suite) {
    let apps = up(suite);
    // What the API refuses is Helm's failure.
    write(apps, &FOLDER.replace("over:", "\"no key\":"));
    apps.loko("create")
        .ends_with(4)
        .says("the workload web failed")
        .says("no key");
    assert_eq!(listed(apps)["status"], "failed");
    // What comes up and ends is ours to see.
    let crash =
        "{chart: ./chart, values: {image: \"valkey/valkey:8.1\", command: [sh, -c, echo it is the settings; exit 3]}}";
    write(apps, crash);
    apps.loko("create")
        .ends_with(4)
        .says("the workload web failed")
        .says("exit code 3")
        .says("it is the settings");
    let absent = format!("{}/nobody/none:1", apps.host("cr"));
    write(apps, &format!("{{chart: ./chart, values: {{image: \"{absent}\"}}}}"));
    let create = apps.loko("create").limit(Duration::from_secs(100)).ends_with(4);
    create
        .says("the workload web failed")
        .says(&format!("the image {absent} is not found"))
        .says(&format!("{absent} was looked for at {}", apps.host("cr")));
    write(apps, FOLDER);
    apps.loko("create").ok();
    revision(apps);
    suite.settled(apps);
}

/// One that does not come up ends create long before Helm would.
fn broken_hook(suite: &Suite) {
    let apps = up(suite);
    let hook = chart(apps).join("templates/hook.yaml");
    let absent = format!("{}/nobody/hook:1", apps.host("cr"));
    fs_err::write(&hook, HOOK.replace("mccutchen/go-httpbin:2.25.0", &absent)).unwrap();
    assert_eq!(
        foreseen(apps),
        ["start Job web-hook: a hook: what it does is not known before"]
    );
    let create = apps.loko("create").limit(Duration::from_secs(150)).ends_with(4);
    create
        .says("the workload web failed")
        .says("its hook Job loko-workloads/web-hook does not come up")
        .says(&format!("the image {absent} is not found"));
    repaired(suite, apps, &hook);
}

fn cut_off(suite: &Suite) {
    let apps = up(suite);
    let hook = chart(apps).join("templates/hook.yaml");
    fs_err::write(&hook, HOOK).unwrap();
    let create = apps.loko("create").start();
    eventually(Duration::from_mins(2), "the upgrade waits for its hook", || {
        let release = listed(apps);
        if release["status"] == "pending-upgrade" {
            Ok(())
        } else {
            Err(release.to_string())
        }
    });
    // What it waits for is shown long before Helm gives up.
    create.writes(Duration::from_mins(2), "its hook", |line| {
        line.contains("still waits for its hook Job loko-workloads/web-hook")
    });
    create.interrupt();
    assert_eq!(listed(apps)["status"], "pending-upgrade");
    repaired(suite, apps, &hook);
}

/// Without its hook the chart comes up again.
#[track_caller]
fn repaired(suite: &Suite, apps: &Environment, hook: &Path) {
    fs_err::remove_file(hook).unwrap();
    apps.kubectl("delete job web-hook --namespace loko-workloads --cascade=foreground")
        .ok();
    apps.loko("create").ok().says("repair the chart web");
    revision(apps);
    suite.settled(apps);
}

/// Serves the files of a directory on this machine for as long as the tests run.
fn serve(directory: PathBuf) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut lines = BufReader::new(&stream).lines().map_while(Result::ok);
            let first = lines.next().unwrap_or_default();
            // The whole question is read, or the answer may be cut off.
            for _ in lines.take_while(|line| !line.is_empty()) {}
            let path = first.split(' ').nth(1).unwrap_or_default().trim_start_matches('/');
            let (code, body) = match fs_err::read(directory.join(path)) {
                Ok(body) => ("200 OK", body),
                Err(_) => ("404 Not Found", Vec::new()),
            };
            let head = format!(
                "HTTP/1.1 {code}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                body.len()
            );
            // Who went away wants no answer.
            let _ = (&stream)
                .write_all(head.as_bytes())
                .and_then(|()| (&stream).write_all(&body));
        }
    });
    format!("http://{address}")
}

/// The chart as an archive of a version, in a directory of its own.
#[track_caller]
fn packaged(apps: &Environment, version: &str) -> PathBuf {
    let directory = apps.place.home.join(format!("charts-{version}"));
    write_chart(&directory.join("web"), version);
    let package = apps
        .place
        .run("helm")
        .dir(&directory)
        .words("package web --destination repo");
    package.ok();
    directory.join("repo")
}

fn repository(suite: &Suite) {
    let apps = up(suite);
    let repo = packaged(apps, "0.2.0");
    apps.place.run("helm").dir(&repo).words("repo index .").ok();
    let url = serve(repo);
    write(apps, &format!("{{chart: web, repo: {{url: \"{url}\"}}}}"));
    apps.loko("create").ok();
    assert_eq!(listed(apps)["chart"], "web-0.2.0");
    suite.settled(apps);
    // A version that is not there is said, and what runs goes on.
    write(
        apps,
        &format!("{{chart: web, version: 9.9.9, repo: {{url: \"{url}\"}}}}"),
    );
    apps.loko("create").ends_with(4).says("9.9.9");
    assert_eq!(listed(apps)["chart"], "web-0.2.0");
}

/// A proxy that takes every connection to an address: no resolver of this host need know the names.
fn tunnel(to: String) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let to = to.clone();
            std::thread::spawn(move || {
                let head = BufReader::new(&client).lines().map_while(Result::ok);
                for _ in head.take_while(|line| !line.is_empty()) {}
                // A side that goes away ends the other; the test sees what it misses.
                let Ok(server) = TcpStream::connect(to) else { return };
                let _ = (&client).write_all(b"HTTP/1.1 200 Connected\r\n\r\n");
                std::thread::scope(|scope| {
                    scope.spawn(|| {
                        let _ = std::io::copy(&mut &client, &mut &server);
                        let _ = server.shutdown(Shutdown::Write);
                    });
                    let _ = std::io::copy(&mut &server, &mut &client);
                    let _ = client.shutdown(Shutdown::Both);
                });
            });
        }
    });
    format!("http://{address}")
}

/// A search path whose first `helm` reaches the environment's names through a proxy.
fn tunnelled(apps: &Environment) -> OsString {
    let directory = apps.place.home.join("tunnelled");
    fs_err::create_dir_all(&directory).unwrap();
    let script = format!(
        "#!/bin/sh\nHTTPS_PROXY={} exec {} \"$@\"\n",
        tunnel(format!("{}:443", apps.address)),
        find("helm").unwrap().display()
    );
    let helm = directory.join("helm");
    fs_err::write(&helm, script).unwrap();
    fs_err::set_permissions(&helm, PermissionsExt::from_mode(0o755)).unwrap();
    let others = std::env::var_os("PATH").unwrap_or_default();
    std::env::join_paths(std::iter::once(directory).chain(std::env::split_paths(&others))).unwrap()
}

fn registry(suite: &Suite) {
    let apps = up(suite);
    let path = tunnelled(apps);
    let archive = packaged(apps, "0.3.0").join("web-0.3.0.tgz");
    let address = format!("oci://{}/charts", apps.host("cr"));
    apps.place
        .run(apps.place.home.join("tunnelled/helm"))
        .args(["push", &archive.to_string_lossy(), &address, "--ca-file"])
        .args([apps.place.authority()])
        .ok();
    write(apps, &format!("{{chart: \"{address}/web\", version: 0.3.0}}"));
    apps.loko("create").env("PATH", &path).ok();
    assert_eq!(listed(apps)["chart"], "web-0.3.0");
    suite.settled(apps);
}

fn git(suite: &Suite) {
    let apps = up(suite);
    let work = apps.place.home.join("charts-git");
    write_chart(&work.join("charts/web"), "0.4.0");
    let git = |words: &str| {
        let run = apps
            .place
            .run("git")
            .dir(&work)
            .args(["-c", "user.name=a", "-c", "user.email=a@b.test"]);
        run.words(words).ok()
    };
    git("init --quiet .");
    git("add .");
    git("commit --quiet --message first");
    git("tag v1");
    write_chart(&work.join("charts/web"), "0.5.0");
    git("commit --quiet --all --message second");
    let config = |revision: &str| {
        let url = format!("file://{}", work.display());
        format!("{{chart: charts/web, repo: {{git: \"{url}\", revision: {revision}}}}}")
    };
    write(apps, &config("v1"));
    apps.loko("create").ok();
    assert_eq!(listed(apps)["chart"], "web-0.4.0");
    suite.settled(apps);
    write(apps, &config("HEAD"));
    apps.loko("create").ok();
    assert_eq!(listed(apps)["chart"], "web-0.5.0");
}

fn removed(suite: &Suite) {
    let apps = up(suite);
    apps.write(&apps.yaml);
    apps.loko("create").ok().says("uninstall the chart web");
    assert_eq!(listed(apps), Value::Null);
    let left = apps
        .kubectl("get deployments,services,configmaps,ingresses --namespace loko-workloads -o name")
        .ok();
    assert!(!left.stdout.contains("/web"), "{left}");
    suite.settled(apps);
}
