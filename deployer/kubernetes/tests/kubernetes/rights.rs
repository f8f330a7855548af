//! The deployer's rights: every test of this crate uses them; here is what they do not allow.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Node, Pod, Secret};
use k8s_openapi::api::rbac::v1::ClusterRole;
use kube::api::{Api, DeleteParams, ListParams};

use crate::kit::{client, cluster, run};

fn is_forbidden<T>(answer: kube::Result<T>) -> bool {
    matches!(answer, Err(kube::Error::Api(status)) if status.code == 403)
}

#[test]
fn a_deployer_may_not_do_what_it_does_not_need() {
    run(async {
        let client = client(&cluster().await.kubeconfig).await;
        let all = ListParams::default();
        let secrets: Api<Secret> = Api::namespaced(client.clone(), "kube-system");
        assert!(is_forbidden(secrets.list(&all).await), "secrets are read");
        assert!(is_forbidden(secrets.get("any").await), "a secret is read");
        assert!(is_forbidden(Api::<Node>::all(client.clone()).list(&all).await), "nodes are read");
        assert!(is_forbidden(Api::<ClusterRole>::all(client.clone()).list(&all).await), "rights are read");
        assert!(is_forbidden(Api::<ConfigMap>::namespaced(client.clone(), "kube-system").list(&all).await));
        assert!(is_forbidden(Api::<Deployment>::all(client.clone()).list(&all).await));
        let pods: Api<Pod> = Api::namespaced(client, "default");
        assert!(is_forbidden(pods.delete("any", &DeleteParams::default()).await), "pods are deleted");
    });
}
