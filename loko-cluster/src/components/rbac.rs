//! Roles and their bindings.

use k8s_openapi::api::core::v1::ServiceAccount;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, PolicyRule, RoleBinding, RoleRef, Subject};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::{cluster_wide, named};

pub(crate) fn service_account(name: &str, namespace: &str) -> ServiceAccount {
    ServiceAccount {
        metadata: named(name, namespace),
        ..ServiceAccount::default()
    }
}

/// `groups`, `resources` and `verbs` are lists with blanks between; the core group is `core`.
pub(crate) fn rule(groups: &str, resources: &str, verbs: &str) -> PolicyRule {
    let split = |list: &str| list.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let groups = split(groups)
        .into_iter()
        .map(|group| if group == "core" { String::new() } else { group });
    PolicyRule {
        api_groups: Some(groups.collect()),
        resources: Some(split(resources)),
        verbs: split(verbs),
        ..PolicyRule::default()
    }
}

pub(crate) fn cluster_role(name: &str, rules: Vec<PolicyRule>) -> ClusterRole {
    ClusterRole {
        metadata: cluster_wide(name),
        rules: Some(rules),
        ..ClusterRole::default()
    }
}

/// Binds a role of the whole cluster to a service account of ours.
pub(crate) fn cluster_binding(name: &str, role: &str, account: (&str, &str)) -> ClusterRoleBinding {
    ClusterRoleBinding {
        metadata: cluster_wide(name),
        role_ref: role_ref("ClusterRole", role),
        subjects: Some(vec![subject(account)]),
    }
}

/// Binds a role of a namespace to a service account of ours.
pub(crate) fn binding(metadata: ObjectMeta, role: &str, account: (&str, &str)) -> RoleBinding {
    RoleBinding {
        metadata,
        role_ref: role_ref("Role", role),
        subjects: Some(vec![subject(account)]),
    }
}

fn role_ref(kind: &str, name: &str) -> RoleRef {
    RoleRef {
        api_group: Some("rbac.authorization.k8s.io".to_owned()),
        kind: kind.to_owned(),
        name: name.to_owned(),
    }
}

fn subject((name, namespace): (&str, &str)) -> Subject {
    Subject {
        kind: "ServiceAccount".to_owned(),
        name: name.to_owned(),
        namespace: Some(namespace.to_owned()),
        ..Subject::default()
    }
}
