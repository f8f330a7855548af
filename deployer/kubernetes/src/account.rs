//! What an account has in a cluster before any app: a namespace, its bounds, and who may speak with whom.

use serde_json::{Value, json};

use crate::Settings;
use crate::apps::Shared;
use crate::cluster::ClusterError;
use crate::names::{ACCOUNT, ASTROCLOUD, DEPLOYMENT, MANAGED_BY, PORT};

/// Name of the account's objects, each of which there is one of a kind.
pub(crate) const NAME: &str = "astrocloud";
/// Name of the Secret with which images are pulled.
pub(crate) const PULL_SECRET: &str = "astrocloud-pull";
/// IPv4 networks that no app reaches: private (RFC 1918, RFC 6598), link-local with the address where a cloud tells
/// a machine its secrets (RFC 3927), loopback, and what is none's address (RFC 6890).
const DENIED_V4: [&str; 9] = [
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "224.0.0.0/3",
];
/// The same for IPv6: unique local (RFC 4193), link-local (RFC 4291), IPv4 in IPv6 (RFC 6052), multicast. IPv4-mapped
/// addresses are IPv4 to the API.
const DENIED_V6: [&str; 5] = ["::/127", "64:ff9b::/96", "fc00::/7", "fe80::/10", "ff00::/8"];
/// Addresses outside that Azure answers inside a machine: its agents' and its resolver's.
const AZURE_HOST: &str = "168.63.129.16/32";

/// Applies what an account has before any app.
pub(crate) async fn apply(shared: &Shared, namespace: &str, account: &str) -> Result<(), ClusterError> {
    for object in objects(&shared.settings, namespace, account) {
        match object["kind"] == "Namespace" {
            true => shared.cluster.apply_namespace(&object).await?,
            false => drop(shared.cluster.apply(&object).await?),
        }
    }
    shared.remember_account(namespace, account);
    Ok(())
}

/// The objects, in the order in which they are applied.
fn objects(settings: &Settings, namespace: &str, account: &str) -> Vec<Value> {
    let meta = |name: &str| {
        json!({
            "name": name,
            "namespace": namespace,
            "labels": { MANAGED_BY: ASTROCLOUD },
            "annotations": { ACCOUNT: account },
        })
    };
    let mut objects = vec![
        json!({
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {
                "name": namespace,
                "labels": { MANAGED_BY: ASTROCLOUD, "pod-security.kubernetes.io/enforce": "restricted" },
                "annotations": { ACCOUNT: account },
            },
        }),
        json!({
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "metadata": meta(NAME),
            "spec": {
                // All pods, in both directions: what is not listed is denied.
                "podSelector": {},
                "policyTypes": ["Ingress", "Egress"],
                "ingress": [{ "from": edges(settings), "ports": [{ "port": PORT, "protocol": "TCP" }] }],
                "egress": [{ "to": resolvers(), "ports": dns() }, { "to": outside(settings) }],
            },
        }),
        json!({
            "apiVersion": "v1",
            "kind": "ResourceQuota",
            "metadata": meta(NAME),
            "spec": { "hard": {
                "pods": settings.quota.pods.to_string(),
                "limits.memory": settings.quota.memory.to_string(),
            } },
        }),
    ];
    if let Some(config) = &settings.pull_secret {
        objects.push(json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": meta(PULL_SECRET),
            "type": "kubernetes.io/dockerconfigjson",
            "data": { ".dockerconfigjson": crate::objects::base64(config.reveal()) },
        }));
    }
    objects
}

/// Who may ask an app: edges in the platform's namespace, and the networks of those outside.
fn edges(settings: &Settings) -> Vec<Value> {
    let within = json!({
        "namespaceSelector": { "matchLabels": { "kubernetes.io/metadata.name": settings.namespace } },
        "podSelector": { "matchLabels": { "app.kubernetes.io/component": "edge" } },
    });
    let networks = settings.edge_networks.iter().map(|network| json!({ "ipBlock": { "cidr": network } }));
    std::iter::once(within).chain(networks).collect()
}

/// The cluster's DNS, under the label that all distributions give it.
fn resolvers() -> Value {
    json!([{
        "namespaceSelector": {},
        "podSelector": {
            "matchLabels": { "k8s-app": "kube-dns" },
            // No app, whatever it is called.
            "matchExpressions": [{ "key": DEPLOYMENT, "operator": "DoesNotExist" }],
        },
    }])
}

fn dns() -> Value {
    json!([{ "port": 53, "protocol": "UDP" }, { "port": 53, "protocol": "TCP" }])
}

/// Everything outside that is nobody's own network.
fn outside(settings: &Settings) -> Value {
    let (v6, v4): (Vec<&str>, Vec<&str>) =
        settings.denied_networks.iter().map(String::as_str).partition(|network| network.contains(':'));
    let v4: Vec<&str> = DENIED_V4.into_iter().chain([AZURE_HOST]).chain(v4).collect();
    let v6: Vec<&str> = DENIED_V6.into_iter().chain(v6).collect();
    json!([
        { "ipBlock": { "cidr": "0.0.0.0/0", "except": v4 } },
        { "ipBlock": { "cidr": "::/0", "except": v6 } },
    ])
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn an_app_reaches_what_is_public_and_nothing_of_the_cluster_or_the_node() {
        let settings = Settings { denied_networks: vec!["20.1.2.3/32".to_owned()], ..Settings::default() };
        let objects = objects(&settings, "astrocloud-owner", "owner");
        let policy = objects.iter().find(|object| object["kind"] == "NetworkPolicy").unwrap();
        assert_eq!(policy["spec"]["podSelector"], json!({}), "it is for every pod");
        assert_eq!(policy["spec"]["policyTypes"], json!(["Ingress", "Egress"]));
        let denied = policy["spec"]["egress"][1]["to"][0]["ipBlock"]["except"].as_array().unwrap();
        for network in ["169.254.0.0/16", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "20.1.2.3/32"] {
            assert!(denied.contains(&json!(network)), "{network} is reached");
        }
        assert_eq!(policy["spec"]["ingress"].as_array().unwrap().len(), 1, "only edges ask apps");
    }
}
