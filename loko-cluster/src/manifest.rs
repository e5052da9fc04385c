//! One Kubernetes object as data, and the little that has to be known of it to apply and prune it.

use serde::Serialize;
use serde_json::Value;

/// The label by which what we applied is found again; its value names the part it belongs to: a component or a workload.
pub const PART: &str = "dev.loko.part";
/// Our field manager in server-side apply.
pub const FIELD_MANAGER: &str = "loko";

/// Kinds that are of the whole cluster, of those that we apply.
const CLUSTER_WIDE: [&str; 9] = [
    "Namespace",
    "Node",
    "CustomResourceDefinition",
    "ClusterRole",
    "ClusterRoleBinding",
    "StorageClass",
    "IngressClass",
    "APIService",
    "PriorityClass",
];

/// A Kubernetes object: always with `apiVersion`, `kind` and `metadata.name`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Manifest(Value);

/// What tells one object from every other of a cluster.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct ObjectKey {
    /// `v1`, `apps/v1`, `traefik.io/v1alpha1`, …
    pub api_version: String,
    /// `Deployment`, …
    pub kind: String,
    /// `None` for objects of the whole cluster.
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
}

impl std::fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.namespace {
            Some(namespace) => write!(f, "{} {namespace}/{}", self.kind, self.name),
            None => write!(f, "{} {}", self.kind, self.name),
        }
    }
}

/// A value that is no Kubernetes object.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("an object lacks {field}: {found}")]
pub struct NotAnObject {
    /// The field that it lacks.
    pub field: &'static str,
    /// The beginning of what was found instead.
    pub found: String,
}

impl Manifest {
    /// Checks that a value has what every object has. A namespace on an object of the whole cluster means nothing, and is
    /// taken off (kind's storage manifest has one; kubectl passes over it as well).
    pub fn new(mut value: Value) -> Result<Self, NotAnObject> {
        for (field, pointer) in [
            ("apiVersion", "/apiVersion"),
            ("kind", "/kind"),
            ("metadata.name", "/metadata/name"),
        ] {
            if value.pointer(pointer).and_then(Value::as_str).is_none_or(str::is_empty) {
                let found: String = value.to_string().chars().take(80).collect();
                return Err(NotAnObject { field, found });
            }
        }
        let of_cluster = value["kind"].as_str().is_some_and(|kind| CLUSTER_WIDE.contains(&kind));
        if of_cluster && let Some(metadata) = value["metadata"].as_object_mut() {
            metadata.remove("namespace");
        }
        Ok(Self(value))
    }

    /// The object of a typed resource (k8s-openapi or kube's derive: both write `apiVersion` and `kind`).
    pub fn of<T: Serialize>(resource: &T) -> Result<Self, NotAnObject> {
        let value = serde_json::to_value(resource).map_err(|error| NotAnObject {
            field: "a serialisable form",
            found: error.to_string(),
        })?;
        Self::new(value)
    }

    /// Every object of a YAML stream; empty documents are passed over.
    pub fn parse_all(yaml: &str) -> Result<Vec<Self>, NotAnObject> {
        use serde::Deserialize as _;
        let mut manifests = Vec::new();
        for document in serde_yaml::Deserializer::from_str(yaml) {
            let value = Value::deserialize(document).map_err(|error| NotAnObject {
                field: "valid YAML",
                found: error.to_string(),
            })?;
            if !value.is_null() {
                manifests.push(Self::new(value)?);
            }
        }
        Ok(manifests)
    }

    /// The whole object.
    #[must_use]
    pub fn value(&self) -> &Value {
        &self.0
    }

    /// Its identity.
    #[must_use]
    pub fn key(&self) -> ObjectKey {
        let text = |pointer| self.0.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
        ObjectKey {
            api_version: text("/apiVersion").unwrap_or_default(),
            kind: text("/kind").unwrap_or_default(),
            namespace: text("/metadata/namespace"),
            name: text("/metadata/name").unwrap_or_default(),
        }
    }

    /// The same with a label in `metadata.labels`.
    #[must_use]
    pub fn with_label(mut self, key: &str, value: &str) -> Self {
        let labels = &mut self.0["metadata"]["labels"];
        if !labels.is_object() {
            *labels = Value::Object(serde_json::Map::new());
        }
        labels[key] = Value::String(value.to_owned());
        self
    }

    /// The same with an annotation.
    #[must_use]
    pub fn with_annotation(mut self, key: &str, value: &str) -> Self {
        let annotations = &mut self.0["metadata"]["annotations"];
        if !annotations.is_object() {
            *annotations = Value::Object(serde_json::Map::new());
        }
        annotations[key] = Value::String(value.to_owned());
        self
    }

    /// The value of an annotation.
    #[must_use]
    pub fn annotation(&self, key: &str) -> Option<&str> {
        self.0.pointer("/metadata/annotations")?.get(key)?.as_str()
    }

    /// The part that it is marked as belonging to.
    #[must_use]
    pub fn part(&self) -> Option<&str> {
        self.0.pointer("/metadata/labels")?.get(PART)?.as_str()
    }

    /// The same marked as belonging to `part`, so that it can be pruned when it is no longer wanted.
    #[must_use]
    pub fn of_part(self, part: &str) -> Self {
        self.with_label(PART, part)
            .with_label("app.kubernetes.io/managed-by", "loko")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_split_and_empty_documents_are_passed_over() {
        let yaml = "# a comment\n---\napiVersion: v1\nkind: Namespace\nmetadata: {name: a}\n---\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: b, namespace: a}\n";
        let all = Manifest::parse_all(yaml).unwrap();
        assert_eq!(all.len(), 2);
        assert_eq!(all[1].key().to_string(), "ConfigMap a/b");
    }

    #[test]
    fn an_object_of_the_whole_cluster_has_no_namespace() {
        let yaml = "apiVersion: storage.k8s.io/v1\nkind: StorageClass\nmetadata: {name: a, namespace: b}";
        assert_eq!(Manifest::parse_all(yaml).unwrap()[0].key().namespace, None);
    }

    #[test]
    fn what_is_no_object_is_refused_with_what_it_lacks() {
        let error = Manifest::parse_all("apiVersion: v1\nkind: Namespace\n").unwrap_err();
        assert_eq!(error.field, "metadata.name");
        assert_eq!(Manifest::parse_all("a: [").unwrap_err().field, "valid YAML");
    }

    #[test]
    fn a_part_is_a_label_beside_the_objects_own() {
        let object =
            Manifest::parse_all("apiVersion: v1\nkind: Namespace\nmetadata: {name: a, labels: {x: y}}").unwrap();
        let object = object[0].clone().of_part("traefik");
        assert_eq!(object.value()["metadata"]["labels"][PART], "traefik");
        assert_eq!(object.value()["metadata"]["labels"]["x"], "y");
    }
}
