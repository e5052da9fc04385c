//! Who owns the fields of an object that was created rather than applied.
//!
//! Server-side apply takes off a field that is no longer wanted only where nobody else owns it. Who creates an object owns its
//! fields as one who updates it does, which counts as somebody else.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;

use crate::manifest::FIELD_MANAGER;

/// The owners of an object's fields with us as one who applies them, as `kubectl` migrates its own objects
/// (`client-go/util/csaupgrade`); `None` where we are so already.
#[must_use]
pub fn as_applied(owners: &[ManagedFieldsEntry]) -> Option<Vec<ManagedFieldsEntry>> {
    let is_ours = |entry: &ManagedFieldsEntry, operation: &str| {
        entry.manager.as_deref() == Some(FIELD_MANAGER)
            && entry.operation.as_deref() == Some(operation)
            && entry.subresource.as_deref().unwrap_or_default().is_empty()
    };
    if !owners.iter().any(|entry| is_ours(entry, "Update")) {
        return None;
    }
    let mut has_applied = owners.iter().any(|entry| is_ours(entry, "Apply"));
    let mut migrated = Vec::new();
    for entry in owners {
        let mut entry = entry.clone();
        if is_ours(&entry, "Update") {
            if has_applied {
                continue;
            }
            has_applied = true;
            entry.operation = Some("Apply".to_owned());
        }
        migrated.push(entry);
    }
    Some(migrated)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner(manager: &str, operation: &str, subresource: Option<&str>) -> ManagedFieldsEntry {
        ManagedFieldsEntry {
            manager: Some(manager.to_owned()),
            operation: Some(operation.to_owned()),
            subresource: subresource.map(str::to_owned),
            ..ManagedFieldsEntry::default()
        }
    }

    #[test]
    fn who_created_becomes_who_applied() {
        let status = owner("kube-controller-manager", "Update", Some("status"));
        let migrated = as_applied(&[owner("loko", "Update", None), status.clone()]);
        assert_eq!(migrated, Some(vec![owner("loko", "Apply", None), status]));
    }

    #[test]
    fn who_applied_as_well_is_listed_once() {
        let both = [owner("loko", "Apply", None), owner("loko", "Update", None)];
        assert_eq!(as_applied(&both), Some(vec![owner("loko", "Apply", None)]));
    }

    #[test]
    fn others_are_left_alone() {
        assert_eq!(as_applied(&[]), None);
        assert_eq!(as_applied(&[owner("loko", "Apply", None)]), None);
        assert_eq!(as_applied(&[owner("kubectl", "Update", None)]), None);
        assert_eq!(as_applied(&[owner("loko", "Update", Some("status"))]), None);
    }
}
