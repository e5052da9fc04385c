//! Passwords and keys: where they are while an environment is made, and where they are not.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt as _;

use crate::create;
use crate::environment::Environment;
use crate::life::up;
use crate::run::{Output, Run};
use crate::suite::{self, Suite};
use crate::watch;
use crate::{Test, Topic};

pub(crate) const TOPIC: Topic = Topic {
    name: "private",
    tests: &[Test(
        "passwords_and_keys_are_for_the_user_alone",
        &["kubectl"],
        for_the_user_alone,
    )],
};

/// An entry of the catalogue whose program is told a password.
const KEEPER: &str = "description: keeps a token
category: utility
image: mccutchen/go-httpbin
version: \"2.25.0\"
http: {port: 8080}
secrets: {token: {kind: password}}
env: {TOKEN: {secret: token}}
";

fn for_the_user_alone(suite: &Suite) {
    let beaten = &suite.beaten;
    let entry = beaten.place.loko_home().join("catalogue/keeper.yaml");
    fs_err::create_dir_all(entry.parent().unwrap()).unwrap();
    fs_err::write(&entry, KEEPER).unwrap();
    beaten.write(&beaten.yaml);
    beaten.loko("destroy --yes").ok();
    beaten.write(&format!("{}  system: [{{name: keeper}}]\n", beaten.yaml));

    // Talkative: what is logged is for everybody who is asked for a log.
    let watching = watch::command_lines();
    let created = beaten.loko("-vv create").any();
    let seen = watching.end();
    assert_eq!(created.code, Some(0), "{created}");
    let secrets = secrets(beaten);
    assert!(seen.len() > 20, "the watch saw nothing: {seen:?}");
    assert!(created.stderr.contains("DEBUG"), "it logged nothing: {created}");
    let told = [
        ("a command line", seen.into_iter().collect::<Vec<_>>().join("\n")),
        ("what create said", format!("{}{}", created.stdout, created.stderr)),
        (
            "what containers were started with",
            format!("{:?}", suite::inspect(&beaten.name)),
        ),
        ("the logs of its containers", logs(beaten)),
        ("pods and events", objects(beaten)),
    ];
    for (place, text) in &told {
        for secret in &secrets {
            assert!(!text.contains(secret.as_str()), "`{secret}` is in {place}");
        }
    }

    let mut holders = BTreeSet::new();
    for file in create::files(&beaten.place.home) {
        let text = String::from_utf8_lossy(&fs_err::read(&file).unwrap()).into_owned();
        if secrets.iter().any(|secret| text.contains(secret.as_str())) {
            let mode = fs_err::metadata(&file).unwrap().permissions().mode() & 0o777;
            assert_eq!(mode, 0o600, "{}", file.display());
            holders.insert(file);
        }
    }
    for file in ["secrets.yaml", "kubeconfig", "certs/tls.key"] {
        assert!(
            holders.contains(&beaten.state().join(file)),
            "{file} is not among {holders:?}"
        );
    }

    fs_err::remove_file(&entry).unwrap();
    up(beaten);
    suite.settled(beaten);
}

/// The password, and a line of each key: of the authority, of the certificate, and of who administers the cluster.
fn secrets(environment: &Environment) -> Vec<String> {
    let shown = environment.loko("secrets show --reveal -o json").ok().json();
    let mut found = vec![shown["keeper"]["token"].as_str().unwrap_or_default().to_owned()];
    for file in [
        environment.place.loko_home().join("ca/ca.key"),
        environment.state().join("certs/tls.key"),
    ] {
        let pem = fs_err::read_to_string(file).unwrap();
        found.extend(pem.lines().filter(|line| !line.starts_with("-----")).map(str::to_owned));
    }
    let kubeconfig = fs_err::read_to_string(environment.state().join("kubeconfig")).unwrap();
    let key = kubeconfig
        .lines()
        .find_map(|line| line.trim().strip_prefix("client-key-data: "));
    found.push(key.unwrap().to_owned());
    assert!(found.iter().all(|secret| secret.len() > 8), "{found:?} of {shown:#}");
    found
}

fn logs(environment: &Environment) -> String {
    let mut names = suite::containers_of(&environment.name);
    names.push("loko-haproxy".to_owned());
    let log = |name: &String| -> Output { Run::new("docker").words("logs").args([name]).ok() };
    names.iter().map(|name| log(name).to_string()).collect()
}

fn objects(environment: &Environment) -> String {
    // A secret itself is where it belongs.
    let kinds = "get pods,events,configmaps,deployments,statefulsets --all-namespaces -o yaml";
    environment.kubectl(kinds).ok().stdout
}
