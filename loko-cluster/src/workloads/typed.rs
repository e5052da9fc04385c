//! From what the user wrote as Kubernetes spells it to Kubernetes' types, losing nothing on the way.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::WorkloadError;

/// The typed form of `given`. A value of the wrong type and a field that Kubernetes does not have are errors; `field` is
/// where the user wrote it.
pub(super) fn read<T: DeserializeOwned + Serialize>(
    workload: &str,
    field: &str,
    given: &Value,
) -> Result<T, WorkloadError> {
    let error = |reason: String| WorkloadError::Field {
        workload: workload.to_owned(),
        field: field.to_owned(),
        reason,
    };
    let given = with_text_quantities(given);
    let typed: T = serde_json::from_value(given.clone()).map_err(|wrong| error(wrong.to_string()))?;
    let kept = serde_json::to_value(&typed).map_err(|wrong| error(wrong.to_string()))?;
    match lost(&given, &kept) {
        Some(path) => Err(error(format!("Kubernetes has no field `{path}` here"))),
        None => Ok(typed),
    }
}

/// `base` with the user's fields over it: lists named in `lists` grow, everything else is replaced. Each field is read by
/// itself first, so that a mistake is reported under its name.
pub(super) fn merge<T: DeserializeOwned + Serialize>(
    workload: &str,
    base: &T,
    fields: &Map<String, Value>,
    lists: &[&str],
) -> Result<T, WorkloadError> {
    let unreadable = |field: &str, reason: &dyn std::fmt::Display| WorkloadError::Field {
        workload: workload.to_owned(),
        field: field.to_owned(),
        reason: reason.to_string(),
    };
    let mut whole = serde_json::to_value(base).map_err(|error| unreadable("", &error))?;
    for (name, value) in fields {
        let mut alone = whole.clone();
        let target = if lists.contains(&name.as_str()) {
            &mut whole[name]
        } else {
            whole[name] = Value::Null;
            &mut whole[name]
        };
        match (target, value) {
            (Value::Array(list), Value::Array(more)) => list.extend(more.iter().cloned()),
            (Value::Object(map), Value::Object(more)) => map.extend(more.clone()),
            (target, value) => *target = value.clone(),
        }
        alone[name] = value.clone();
        read::<T>(workload, name, &alone)?;
    }
    read(workload, "", &whole)
}

/// Kubernetes takes `cpu: 2` for `cpu: "2"`; its types here take text alone.
fn with_text_quantities(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let entries = map.iter().map(|(key, value)| {
                let value = match (key.as_str(), value) {
                    ("requests" | "limits", Value::Object(quantities)) => Value::Object(
                        quantities
                            .iter()
                            .map(|(name, quantity)| (name.clone(), text(quantity)))
                            .collect(),
                    ),
                    ("sizeLimit" | "divisor", quantity) => text(quantity),
                    (_, other) => with_text_quantities(other),
                };
                (key.clone(), value)
            });
            Value::Object(entries.collect())
        }
        Value::Array(list) => Value::Array(list.iter().map(with_text_quantities).collect()),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.clone(),
    }
}

fn text(quantity: &Value) -> Value {
    match quantity {
        Value::Number(number) => Value::String(number.to_string()),
        Value::Null | Value::Bool(_) | Value::String(_) | Value::Array(_) | Value::Object(_) => quantity.clone(),
    }
}

/// The first field of `given` that `kept` does not have.
fn lost(given: &Value, kept: &Value) -> Option<String> {
    match (given, kept) {
        (Value::Object(given), Value::Object(kept)) => given.iter().find_map(|(key, value)| match kept.get(key) {
            Some(other) => lost(value, other).map(|rest| format!("{key}.{rest}")),
            None if value.is_null() => None,
            None => Some(key.clone()),
        }),
        (Value::Array(given), Value::Array(kept)) => given
            .iter()
            .zip(kept)
            .enumerate()
            .find_map(|(index, (value, other))| lost(value, other).map(|rest| format!("{index}.{rest}"))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Container;
    use serde_json::json;

    use super::*;

    fn merged(fields: &Value) -> Result<Value, String> {
        let base = Container {
            name: "a".to_owned(),
            ..Container::default()
        };
        merge("shop", &base, fields.as_object().unwrap(), &["volumeMounts"])
            .map(|container: Container| serde_json::to_value(container).unwrap())
            .map_err(|error| error.to_string())
    }

    #[test]
    fn numbers_are_quantities() {
        let fields = json!({"resources": {"limits": {"cpu": 2, "memory": "1Gi"}, "requests": {"cpu": 0.5}}});
        let container = merged(&fields).unwrap();
        assert_eq!(
            container["resources"],
            json!({"limits": {"cpu": "2", "memory": "1Gi"}, "requests": {"cpu": "0.5"}})
        );
    }

    #[test]
    fn a_mistake_is_reported_under_the_name_of_its_field() {
        assert_eq!(
            merged(&json!({"readinessProbe": {"httpGet": {"port": 80}, "initialDelay": 3}})).unwrap_err(),
            "read `readinessProbe` of `shop`: Kubernetes has no field `readinessProbe.initialDelay` here"
        );
        let error = merged(&json!({"readinessProbe": {"periodSeconds": "often"}})).unwrap_err();
        assert!(
            error.starts_with("read `readinessProbe` of `shop`: invalid type"),
            "{error}"
        );
    }

    #[test]
    fn ports_by_name_and_by_number_stay_what_they_are() {
        let probe = json!({"httpGet": {"port": "http", "path": "/"}, "periodSeconds": 3});
        assert_eq!(
            merged(&json!({"livenessProbe": probe})).unwrap()["livenessProbe"],
            probe
        );
        let probe = json!({"tcpSocket": {"port": 80}});
        assert_eq!(
            merged(&json!({"livenessProbe": probe})).unwrap()["livenessProbe"],
            probe
        );
    }
}
