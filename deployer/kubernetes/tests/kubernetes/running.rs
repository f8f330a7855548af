//! Apps that run: what is told of them, and their logs.

use std::time::Duration;

use common::revision::RevisionStatus;
use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use kube::api::{Api, DeleteParams};
use kubernetes::Settings;

use crate::kit::{SERVER, World, get, run, said, settings};
use crate::kubelet::within;

fn runs_with(restarts: u32) -> impl Fn(&RevisionStatus) -> bool {
    move |status| matches!(status, RevisionStatus::Running { restarts: found, .. } if *found == restarts)
}

#[test]
fn an_app_that_crashes_is_told_with_how_and_again_when_it_is_back() {
    run(async {
        let world = World::new(settings()).await;
        let app = world.app(SERVER).await;
        let at = world.runtime.start(&app).await.unwrap().first();
        assert!(world.ledger.reports().is_empty(), "the caller reports the first start");
        get(at, "/crash").await;
        let status = world
            .ledger
            .until(|s| matches!(s, RevisionStatus::Restarting { reason, .. } if reason.contains("exit code 5")))
            .await;
        let RevisionStatus::Restarting { restarts, .. } = status else { unreachable!() };
        assert!(restarts <= 1);
        let status = world.ledger.until(runs_with(1)).await;
        assert!(get(status.endpoints().unwrap().first(), "/").await.is_some());
    });
}

#[test]
fn a_log_is_followed_across_restarts_of_app_and_deployer_without_loss_or_repeats() {
    run(async {
        let mut world = World::new(settings()).await;
        let app = world.app(SERVER).await;
        let at = world.runtime.start(&app).await.unwrap().first();
        for n in 1..=3 {
            get(at, &format!("/say/first-{n}-hunter22hunter22")).await;
        }
        world.log_until(&app, "first-3").await;
        get(at, "/crash").await;
        world.ledger.until(runs_with(1)).await;
        world.log_until(&app, "listening").await;
        get(at, "/say/second-1").await;
        world.log_until(&app, "second-1").await;

        world.restart().await;
        get(at, "/say/between").await;
        let again = world.runtime.start(&app).await.unwrap().first();
        assert_eq!(again, at, "what runs is taken over");
        get(at, "/say/last").await;
        let records = world.log_until(&app, "last").await;
        let expected = [
            "listening",
            "first-1-***",
            "first-2-***",
            "first-3-***",
            "out of luck",
            "listening",
            "second-1",
            "between",
            "last",
        ];
        assert_eq!(said(&records), expected);
    });
}

#[test]
fn edges_leave_an_instance_before_it_ends_and_hear_of_its_successor() {
    run(async {
        let world = World::new(Settings { replicas: 2, drain_delay: Duration::from_secs(2), ..settings() }).await;
        let app = world.app(SERVER).await;
        let before = world.runtime.start(&app).await.unwrap();
        let leaving = before.first();
        let pods: Api<Pod> = Api::namespaced(world.cluster.admin.clone(), &world.namespace());
        let all = pods.list(&Default::default()).await.unwrap();
        let ip = leaving.ip().to_string();
        let pod = all.items.iter().find(|pod| pod.status.as_ref().unwrap().pod_ip.as_ref() == Some(&ip)).unwrap();
        pods.delete(&pod.name_any(), &DeleteParams::default()).await.unwrap();
        world.ledger.until(|s| s.endpoints().is_some_and(|e| e.iter().all(|at| at != leaving))).await;
        assert!(get(leaving, "/").await.is_some(), "it still answers who is late");
        let both = world
            .ledger
            .until(|s| s.endpoints().is_some_and(|e| e.iter().count() == 2 && e.iter().all(|at| at != leaving)))
            .await;
        for at in both.endpoints().unwrap().iter() {
            assert!(get(at, "/").await.is_some());
        }
    });
}

#[test]
fn a_stop_is_told_first_and_leaves_what_a_rollback_needs() {
    run(async {
        let world = World::new(settings()).await;
        let app = world.app(SERVER).await;
        let at = world.runtime.start(&app).await.unwrap().first();
        world.runtime.stop(&app.deployment).await;
        world.ledger.until(|status| *status == RevisionStatus::Stopped).await;
        within("its end", async {
            while get(at, "/").await.is_some() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
        let sets: Api<ReplicaSet> = Api::namespaced(world.cluster.admin.clone(), &world.namespace());
        let kept = sets.list(&Default::default()).await.unwrap();
        assert_eq!(kept.items[0].spec.as_ref().unwrap().replicas, Some(0));
        world.runtime.start(&app).await.unwrap();
    });
}

#[test]
fn an_app_that_moves_to_another_deployer_goes_on() {
    run(async {
        let world = World::new(settings()).await;
        let app = world.app(SERVER).await;
        let at = world.runtime.start(&app).await.unwrap().first();
        let next = world.another_deployer().await;
        assert_eq!(next.start(&app).await.unwrap().first(), at);
        world.runtime.stop(&app.deployment).await;
        within("its letting go", async {
            while !world.runtime.running().await.is_empty() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
        let sets: Api<ReplicaSet> = Api::namespaced(world.cluster.admin.clone(), &world.namespace());
        let kept = sets.list(&Default::default()).await.unwrap();
        assert_eq!(
            (kept.items[0].spec.as_ref().unwrap().replicas, kept.items[0].metadata.generation),
            (Some(1), Some(1))
        );
        assert!(world.ledger.reports().is_empty(), "nothing became of it");

        next.stop(&app.deployment).await;
        world.ledger.until(|status| *status == RevisionStatus::Stopped).await;
    });
}
