use common::api::DeploymentStatus;

use crate::support::Platform;

#[tokio::test]
async fn what_waited_and_what_was_built_when_the_platform_died_is_built_after_it_is_back() {
    let platform = Platform::start().await;
    platform.project("shop").await;
    let live = platform.deploy("shop").await;
    let building = platform.ask("shop").await;
    let (_lease, _) = platform.claim().await;
    let waiting = platform.ask("shop").await;
    // The queue is in memory: it is gone with the process.
    let platform = platform.restart().await;
    assert_eq!(platform.read(&live.id).await.status, DeploymentStatus::Live);
    let (lease, work) = platform.claim().await;
    assert_eq!(work.deployment, building.id);
    platform.queue.complete(&lease).await.unwrap();
    let (_, work) = platform.claim().await;
    assert_eq!(work.deployment, waiting.id);
}

#[tokio::test]
async fn a_deployment_that_takes_its_deployer_down_again_and_again_is_given_up() {
    let mut platform = Platform::start().await;
    platform.project("shop").await;
    let asked = platform.ask("shop").await;
    for _ in 0..3 {
        platform.claim().await;
        platform = platform.restart().await;
    }
    let given_up = platform.read(&asked.id).await;
    assert_eq!(given_up.status, DeploymentStatus::Failed);
    assert_eq!(given_up.reason.unwrap().code, "worker_lost");
}
