//! Where workloads' data is: in one volume that every node mounts, so that it outlives them.
//!
//! The storage class that the node image brings makes one directory for each claim, named after the claim's uid: a claim
//! of the same name in a cluster that was made anew would get an empty one. Here the directory is named after the claim.

use serde_json::{Value, json};

use crate::manifest::{Manifest, NotAnObject};

/// Where the local-path provisioner of a node image keeps data
/// (kind: `images/base/files/kind/manifests/default-storage.yaml`, `nodePathMap`).
pub const DATA_PATH: &str = "/var/local-path-provisioner";
/// The role of the volume.
pub const DATA_ROLE: &str = "data";
/// The provisioner whose storage classes are changed.
const PROVISIONER: &str = "rancher.io/local-path";

/// The volume with the workloads' data: `loko-<environment>-data`.
#[must_use]
pub fn volume(environment: &str) -> String {
    format!("loko-{environment}-data")
}

/// A storage class of the local-path provisioner with one directory for each claim's namespace and name (local-path
/// provisioner: README, `pathPattern`); every other object as it is. A pattern of its own stays.
pub fn by_name_of_claim(manifest: Manifest) -> Result<Manifest, NotAnObject> {
    let value = manifest.value();
    let is_ours = value["kind"] == "StorageClass" && value["provisioner"] == PROVISIONER;
    if !is_ours || value["parameters"]["pathPattern"].is_string() {
        return Ok(manifest);
    }
    let mut value: Value = value.clone();
    if !value["parameters"].is_object() {
        value["parameters"] = json!({});
    }
    value["parameters"]["pathPattern"] = json!("{{ .PVC.Namespace }}/{{ .PVC.Name }}");
    Manifest::new(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class(more: &str) -> Manifest {
        let yaml = format!(
            "apiVersion: storage.k8s.io/v1\nkind: StorageClass\nmetadata: {{name: standard}}\n\
             provisioner: rancher.io/local-path\n{more}"
        );
        Manifest::parse_all(&yaml).unwrap().remove(0)
    }

    #[test]
    fn a_claim_of_the_same_name_finds_its_data_again() {
        let changed = by_name_of_claim(class("")).unwrap();
        assert_eq!(
            changed.value()["parameters"]["pathPattern"],
            "{{ .PVC.Namespace }}/{{ .PVC.Name }}"
        );
        let once_more = by_name_of_claim(changed.clone()).unwrap();
        assert_eq!(once_more, changed);
    }

    #[test]
    fn what_is_another_class_or_has_a_pattern_stays() {
        let own = class("parameters: {pathPattern: x}");
        assert_eq!(by_name_of_claim(own.clone()).unwrap(), own);
        let yaml =
            "apiVersion: storage.k8s.io/v1\nkind: StorageClass\nmetadata: {name: nfs}\nprovisioner: nfs.csi.k8s.io";
        let other = Manifest::parse_all(yaml).unwrap().remove(0);
        assert_eq!(by_name_of_claim(other.clone()).unwrap(), other);
    }
}
