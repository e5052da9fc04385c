//! kubeconfig files: the one that kubeadm writes made ours, and merged into the user's without losing a key of theirs.

use serde_yaml::{Mapping, Value};

/// A text that is no kubeconfig.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, miette::Diagnostic)]
#[error("{file} is no kubeconfig: {reason}")]
#[diagnostic(
    code(loko::cluster::kubeconfig),
    help("mend or move the file, or run with --no-kubeconfig")
)]
pub struct InvalidKubeconfig {
    /// Where it came from.
    pub file: String,
    /// What is wrong.
    pub reason: String,
}

/// kind's name for cluster, user and context of a cluster, so that `kind export` and `kind delete` keep it right.
#[must_use]
pub fn context(cluster: &str) -> String {
    format!("kind-{cluster}")
}

/// kubeadm's `admin.conf` with its names replaced by [`context`] and the server by `server`.
pub fn localise(admin_conf: &str, cluster: &str, server: &str) -> Result<String, InvalidKubeconfig> {
    let invalid = |reason: &str| InvalidKubeconfig {
        file: "admin.conf".to_owned(),
        reason: reason.to_owned(),
    };
    let source = parse("admin.conf", admin_conf)?;
    let first = |list: &str, inner: &str| {
        source
            .get(list)
            .and_then(|l| l.get(0))
            .and_then(|e| e.get(inner))
            .cloned()
            .ok_or_else(|| invalid(inner))
    };
    let mut cluster_value = first("clusters", "cluster")?;
    cluster_value["server"] = Value::String(server.to_owned());
    let user = first("users", "user")?;
    let name = context(cluster);
    let context_value = mapping([("cluster", name.clone().into()), ("user", name.clone().into())]);
    let whole = mapping([
        ("apiVersion", "v1".into()),
        ("kind", "Config".into()),
        ("clusters", vec![entry(&name, "cluster", cluster_value)].into()),
        ("contexts", vec![entry(&name, "context", context_value)].into()),
        ("current-context", name.clone().into()),
        ("users", vec![entry(&name, "user", user)].into()),
    ]);
    write(&whole).map_err(|reason| invalid(&reason))
}

/// The user's file with our entries in it. Our context is chosen when it comes, or where none is chosen; what the user has
/// chosen since then stays. `None` where nothing would change.
pub fn merge(file: &str, existing: &str, ours: &str) -> Result<Option<String>, InvalidKubeconfig> {
    let invalid = |reason: String| InvalidKubeconfig {
        file: file.to_owned(),
        reason,
    };
    let ours = parse("our kubeconfig", ours)?;
    let before = parse(file, existing)?;
    let mut after = before.clone();
    for (key, value) in [("apiVersion", "v1"), ("kind", "Config")] {
        if after.get(key).is_none() {
            after[key] = value.into();
        }
    }
    let chosen = ours["current-context"].clone();
    let is_known = sequence(&before, "contexts")
        .iter()
        .any(|context| context.get("name") == Some(&chosen));
    for list in ["clusters", "contexts", "users"] {
        for item in sequence(&ours, list) {
            let mut items = sequence(&after, list);
            match items.iter_mut().find(|other| other.get("name") == item.get("name")) {
                Some(other) => *other = item,
                None => items.push(item),
            }
            after[list] = items.into();
        }
    }
    let is_none_chosen = before
        .get("current-context")
        .and_then(Value::as_str)
        .unwrap_or_default()
        .is_empty();
    if is_none_chosen || !is_known {
        after["current-context"] = chosen;
    }
    if after == before {
        return Ok(None);
    }
    write(&after).map(Some).map_err(invalid)
}

/// The user's file without the entries of a cluster. `None` where there are none.
pub fn remove(file: &str, existing: &str, cluster: &str) -> Result<Option<String>, InvalidKubeconfig> {
    let name = Value::String(context(cluster));
    let before = parse(file, existing)?;
    let mut after = before.clone();
    for list in ["clusters", "contexts", "users"] {
        if after.get(list).is_some() {
            let kept: Vec<Value> = sequence(&after, list)
                .into_iter()
                .filter(|item| item.get("name") != Some(&name))
                .collect();
            after[list] = kept.into();
        }
    }
    if after.get("current-context") == Some(&name) {
        after["current-context"] = String::new().into();
    }
    if after == before {
        return Ok(None);
    }
    write(&after).map(Some).map_err(|reason| InvalidKubeconfig {
        file: file.to_owned(),
        reason,
    })
}

fn parse(file: &str, text: &str) -> Result<Value, InvalidKubeconfig> {
    let invalid = |reason: String| InvalidKubeconfig {
        file: file.to_owned(),
        reason,
    };
    let value: Value = serde_yaml::from_str(text).map_err(|error| invalid(error.to_string()))?;
    if value.is_null() {
        return Ok(Value::Mapping(Mapping::new()));
    }
    if value.is_mapping() {
        Ok(value)
    } else {
        Err(invalid("it holds no mapping".to_owned()))
    }
}

fn write(value: &Value) -> Result<String, String> {
    serde_yaml::to_string(value).map_err(|error| error.to_string())
}

fn sequence(value: &Value, key: &str) -> Vec<Value> {
    value.get(key).and_then(Value::as_sequence).cloned().unwrap_or_default()
}

fn mapping<const N: usize>(pairs: [(&str, Value); N]) -> Value {
    Value::Mapping(
        pairs
            .into_iter()
            .map(|(key, value)| (Value::from(key), value))
            .collect(),
    )
}

fn entry(name: &str, key: &str, value: Value) -> Value {
    mapping([(key, value), ("name", name.into())])
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADMIN: &str = "apiVersion: v1\nkind: Config\nclusters:\n- cluster:\n    certificate-authority-data: QQ==\n    server: https://loko-dev-control-plane:6443\n  name: loko-dev\ncontexts:\n- context: {cluster: loko-dev, user: kubernetes-admin}\n  name: a\ncurrent-context: a\nusers:\n- name: kubernetes-admin\n  user: {client-certificate-data: Qg==}\n";
    const THEIRS: &str = "apiVersion: v1\nkind: Config\nclusters:\n- {cluster: {server: 'https://x'}, name: prod}\ncontexts:\n- {context: {cluster: prod, user: me, namespace: n}, name: prod}\ncurrent-context: prod\nusers:\n- {name: me, user: {token: t}}\nextensions-of-theirs: 1\n";

    #[test]
    fn admin_conf_takes_kinds_names_and_our_server() {
        let text = localise(ADMIN, "loko-dev", "https://127.0.0.1:4000").unwrap();
        insta::assert_snapshot!(text, @r"
        apiVersion: v1
        kind: Config
        clusters:
        - cluster:
            certificate-authority-data: QQ==
            server: https://127.0.0.1:4000
          name: kind-loko-dev
        contexts:
        - context:
            cluster: kind-loko-dev
            user: kind-loko-dev
          name: kind-loko-dev
        current-context: kind-loko-dev
        users:
        - user:
            client-certificate-data: Qg==
          name: kind-loko-dev
        ");
    }

    #[test]
    fn merging_keeps_what_is_theirs_and_twice_changes_nothing() {
        let ours = localise(ADMIN, "loko-dev", "https://127.0.0.1:4000").unwrap();
        let merged = merge("config", THEIRS, &ours).unwrap().unwrap();
        assert!(
            merged.contains("name: prod") && merged.contains("extensions-of-theirs: 1"),
            "{merged}"
        );
        assert!(merged.contains("current-context: kind-loko-dev"));
        assert_eq!(merge("config", &merged, &ours).unwrap(), None);
        let chosen = merged.replace("current-context: kind-loko-dev", "current-context: prod");
        assert_eq!(
            merge("config", &chosen, &ours).unwrap(),
            None,
            "what the user chose stays"
        );
        let removed = remove("config", &merged, "loko-dev").unwrap().unwrap();
        assert!(
            !removed.contains("loko-dev") && removed.contains("namespace: n"),
            "{removed}"
        );
        assert_eq!(remove("config", &removed, "loko-dev").unwrap(), None);
    }

    #[test]
    fn an_empty_file_becomes_ours_and_a_broken_one_is_refused() {
        let ours = localise(ADMIN, "loko-dev", "https://127.0.0.1:4000").unwrap();
        assert!(merge("config", "", &ours).unwrap().is_some());
        assert!(merge("config", "- a", &ours).is_err());
        assert!(merge("config", "a: [", &ours).is_err());
    }
}
