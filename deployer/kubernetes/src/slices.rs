//! EndpointSlices, of which every version tells what is needed here in the same way.

use std::net::{IpAddr, SocketAddr};

use kube::api::DynamicObject;
use serde::Deserialize;

/// As much of an EndpointSlice as is needed
/// (<https://kubernetes.io/docs/concepts/services-networking/endpoint-slices/>).
#[derive(Debug, Deserialize)]
struct Slice {
    #[serde(default)]
    endpoints: Option<Vec<Endpoint>>,
    #[serde(default)]
    ports: Option<Vec<Port>>,
}

#[derive(Debug, Deserialize)]
struct Endpoint {
    addresses: Vec<IpAddr>,
    #[serde(default)]
    conditions: Conditions,
}

#[derive(Debug, Default, Deserialize)]
struct Conditions {
    /// Unknown counts as ready.
    ready: Option<bool>,
    terminating: Option<bool>,
}

#[derive(Debug, Deserialize)]
struct Port {
    port: Option<u16>,
}

/// Where a slice's ready endpoints answer.
pub(crate) fn ready(slice: &DynamicObject) -> Vec<SocketAddr> {
    let read: Slice = match serde_json::from_value(slice.data.clone()) {
        Ok(read) => read,
        Err(e) => {
            tracing::warn!(slice = ?slice.metadata.name, error = %e, "an EndpointSlice can't be read");
            return Vec::new();
        }
    };
    let Some(port) = read.ports.iter().flatten().find_map(|port| port.port) else { return Vec::new() };
    let answers = |endpoint: &Endpoint| {
        endpoint.conditions.ready.unwrap_or(true) && !endpoint.conditions.terminating.unwrap_or(false)
    };
    let ready = read.endpoints.into_iter().flatten().filter(answers);
    // All addresses of one endpoint are the same instance.
    ready.filter_map(|endpoint| Some(SocketAddr::new(*endpoint.addresses.first()?, port))).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    fn addresses(slice: serde_json::Value) -> Vec<String> {
        let slice: DynamicObject = serde_json::from_value(slice).unwrap();
        ready(&slice).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn both_versions_tell_who_is_ready() {
        let old = json!({
            "apiVersion": "discovery.k8s.io/v1beta1", "kind": "EndpointSlice", "metadata": { "name": "a" },
            "addressType": "IPv4",
            "endpoints": [
                { "addresses": ["10.1.0.4"], "conditions": { "ready": true }, "topology": { "kubernetes.io/hostname": "n" } },
                { "addresses": ["10.1.0.5"], "conditions": { "ready": false } },
            ],
            "ports": [{ "name": "http", "protocol": "TCP", "port": 8080 }],
        });
        assert_eq!(addresses(old), ["10.1.0.4:8080"]);
        let new = json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": { "name": "a" },
            "addressType": "IPv6",
            "endpoints": [
                { "addresses": ["fd00::4"], "conditions": { "ready": true, "serving": true, "terminating": false }, "nodeName": "n" },
                { "addresses": ["fd00::5"], "conditions": { "ready": true, "serving": true, "terminating": true } },
                { "addresses": ["fd00::6"], "conditions": {} },
            ],
            "ports": [{ "name": "http", "protocol": "TCP", "port": 8080, "appProtocol": null }],
        });
        assert_eq!(addresses(new), ["[fd00::4]:8080", "[fd00::6]:8080"]);
    }

    #[test]
    fn an_empty_slice_has_nobody() {
        assert!(addresses(json!({ "metadata": {}, "endpoints": null, "ports": null })).is_empty());
    }
}
