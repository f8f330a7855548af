//! Policies as JSON documents: laid over one another, and looked at for keys that mean nothing.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use common::api::EdgePolicy;
use guard::Problem;
use serde_json::{Map, Value};
use utoipa::{PartialSchema as _, ToSchema as _};

/// From this similarity on (Jaro and Winkler, 0 to 1) a key is taken for a misspelt other one.
const SIMILAR: f64 = 0.8;

/// Lays `patch` over a document (JSON merge patch, RFC 7396): objects are merged, `null` removes, all else replaces.
pub(super) fn merge(document: Value, patch: Value) -> Value {
    let Value::Object(patch) = patch else { return patch };
    let mut merged = match document {
        Value::Object(document) => document,
        _ => Map::new(),
    };
    for (key, value) in patch {
        match value {
            Value::Null => {
                merged.remove(&key);
            }
            value => {
                let before = merged.remove(&key).unwrap_or(Value::Null);
                merged.insert(key, merge(before, value));
            }
        }
    }
    Value::Object(merged)
}

/// The document's schema, and by name those that it refers to: the one description that also the API's document has.
static SCHEMAS: LazyLock<(Value, BTreeMap<String, Value>)> = LazyLock::new(|| {
    let mut named = Vec::new();
    EdgePolicy::schemas(&mut named);
    let json = |schema| serde_json::to_value(schema).unwrap_or_default();
    (json(EdgePolicy::schema()), named.into_iter().map(|(name, schema)| (name, json(schema))).collect())
});

/// Keys of a policy that mean nothing, each with the nearest that does.
pub(super) fn unknown_keys(document: &Value) -> Vec<Problem> {
    let mut found = Vec::new();
    look(&[&SCHEMAS.0], document, "", &mut found);
    found
}

/// Looks at a value that one of some schemas describes.
fn look(schemas: &[&Value], value: &Value, path: &str, found: &mut Vec<Problem>) {
    let schemas = alternatives(schemas);
    match value {
        Value::Object(object) => {
            let properties = || schemas.iter().filter_map(|schema| schema.get("properties")?.as_object()).flatten();
            if properties().next().is_none() {
                return;
            }
            for (key, value) in object {
                let below: Vec<&Value> =
                    properties().filter(|(name, _)| *name == key).map(|(_, below)| below).collect();
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                if below.is_empty() {
                    found.push(unknown(path, key, properties().map(|(name, _)| name.as_str()).collect()));
                } else {
                    look(&below, value, &path, found);
                }
            }
        }
        Value::Array(items) => {
            let below: Vec<&Value> = schemas.iter().filter_map(|schema| schema.get("items")).collect();
            for (i, item) in items.iter().enumerate() {
                look(&below, item, &format!("{path}[{i}]"), found);
            }
        }
        _ => {}
    }
}

/// Schemas with all that they refer to and may be.
fn alternatives<'a>(schemas: &[&'a Value]) -> Vec<&'a Value> {
    let mut all = Vec::new();
    let mut left = schemas.to_vec();
    while let Some(schema) = left.pop() {
        all.push(schema);
        let name = schema.get("$ref").and_then(Value::as_str).and_then(|reference| reference.rsplit('/').next());
        left.extend(name.and_then(|name| SCHEMAS.1.get(name)));
        for key in ["oneOf", "anyOf", "allOf"] {
            left.extend(schema.get(key).and_then(Value::as_array).into_iter().flatten());
        }
    }
    all
}

fn unknown(path: String, key: &str, mut right: Vec<&str>) -> Problem {
    right.sort_unstable();
    right.dedup();
    let likeness = |name: &&&str| strsim::jaro_winkler(key, name);
    let nearest = right.iter().max_by(|a, b| likeness(a).total_cmp(&likeness(b)));
    let hint = match nearest {
        Some(name) if likeness(&name) >= SIMILAR => format!("did you mean `{name}`?"),
        _ => format!("there are {}.", right.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")),
    };
    Problem { path, message: format!("There is no `{key}` here: {hint}") }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn documents_are_laid_over_one_another_as_rfc_7396_shows_it() {
        // The examples of its appendix A.
        for (document, patch, result) in [
            (json!({"a": "b"}), json!({"a": "c"}), json!({"a": "c"})),
            (json!({"a": "b"}), json!({"b": "c"}), json!({"a": "b", "b": "c"})),
            (json!({"a": "b"}), json!({"a": null}), json!({})),
            (json!({"a": "b", "b": "c"}), json!({"a": null}), json!({"b": "c"})),
            (json!({"a": ["b"]}), json!({"a": "c"}), json!({"a": "c"})),
            (json!({"a": "c"}), json!({"a": ["b"]}), json!({"a": ["b"]})),
            (json!({"a": {"b": "c"}}), json!({"a": {"b": "d", "c": null}}), json!({"a": {"b": "d"}})),
            (json!({"a": [{"b": "c"}]}), json!({"a": [1]}), json!({"a": [1]})),
            (json!(["a", "b"]), json!(["c", "d"]), json!(["c", "d"])),
            (json!({"a": "b"}), json!(["c"]), json!(["c"])),
            (json!({"a": "foo"}), json!(null), json!(null)),
            (json!({"e": null}), json!({"a": 1}), json!({"e": null, "a": 1})),
            (json!([1, 2]), json!({"a": "b", "c": null}), json!({"a": "b"})),
            (json!({}), json!({"a": {"bb": {"ccc": null}}}), json!({"a": {"bb": {}}})),
        ] {
            assert_eq!(merge(document.clone(), patch.clone()), result, "{document} {patch}");
        }
    }

    #[test]
    fn every_key_of_a_whole_policy_is_known() {
        let policy = json!({
            "https": { "redirect": true, "hsts": { "max_age_s": 1, "include_subdomains": true, "preload": false } },
            "trailing_slash": "always",
            "protection": [{ "path": "/", "on": "previews", "users": [{ "user": "a", "password": "b" }] }],
            "app": {
                "protocol": "h2c",
                "timeouts": { "connect_ms": 1, "first_byte_ms": 1, "between_bytes_ms": 1, "total_ms": 1 },
                "health": { "path": "/", "interval_ms": 1000 },
            },
            "cache": { "enabled": true, "explicit_private": true },
            "compression": "off",
            "limits": { "client": { "requests_per_s": 1, "burst": 1, "concurrent": 1, "bytes_per_s": 1 }, "project": {} },
            "access": { "allow": ["10.0.0.0/8"], "deny": [] },
            "rules": [
                { "name": "a", "if": { "paths": [], "methods": [], "headers": [{ "name": "a", "value": "b", "not": true }],
                  "addresses": [], "countries": [] }, "then": { "deny": { "status": 403 } } },
                { "name": "b", "then": { "rate_limit": { "requests": 1, "per_s": 1, "by": { "header": "a" } } } },
                { "name": "c", "then": { "redirect": { "to": "/", "status": 301 } } },
                { "name": "d", "then": "allow" },
            ],
        });
        assert_eq!(unknown_keys(&policy), []);
        let misspelt = json!({ "rules": [{ "name": "b", "then": { "rate_limit": { "per_sec": 1 } } }], "zzz": 1 });
        let problems = unknown_keys(&misspelt);
        assert_eq!(problems[0].path, "rules[0].then.rate_limit.per_sec");
        assert!(problems[0].message.contains("`per_s`"), "{problems:?}");
        assert!(problems[1].message.contains("`trailing_slash`"), "{problems:?}");
    }
}
