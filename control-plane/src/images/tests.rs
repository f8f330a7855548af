//! Which images are deleted, and when.
use std::path::Path;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use common::deployment::{Failure, State};
use common::id::{DeploymentId, ProjectId, UploadId};
use common::project::Settings;
use common::registry::{ImageRegistry, NewImage, Pushed, RegistryError, Start};
use common::source::Source;
use tempfile::TempDir;

use super::*;
use crate::store::deployments::NewRow;
use crate::store::projects::{OWNER, ProjectRow};

/// A registry that notes what is deleted, and may refuse.
#[derive(Default)]
struct Noted {
    removed: Mutex<Vec<String>>,
    refuses: Mutex<bool>,
}

#[async_trait]
impl ImageRegistry for Noted {
    async fn push(&self, _: NewImage<'_>) -> Result<Pushed, RegistryError> {
        unreachable!("nothing is pushed")
    }
    async fn pull(&self, _: &str, _: &Path) -> Result<Start, RegistryError> {
        unreachable!("nothing is pulled")
    }
    async fn remove(&self, reference: &str) -> Result<(), RegistryError> {
        if *self.refuses.lock().unwrap() {
            return Err(RegistryError::Refused("deleting is off".to_owned()));
        }
        self.removed.lock().unwrap().push(reference.to_owned());
        Ok(())
    }
}

struct World {
    images: Images,
    registry: Arc<Noted>,
    project: ProjectId,
    now: Timestamp,
    _folder: TempDir,
}

impl World {
    async fn new(keep: u32) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&format!("sqlite://{}?mode=rwc", folder.path().join("db").display())).await.unwrap();
        let project = ProjectId::new();
        let row = ProjectRow {
            id: project.clone(),
            name: "shop".parse().unwrap(),
            account: OWNER.to_owned(),
            settings: Settings::default(),
            live_deployment: None,
            created_at: Timestamp::now(),
        };
        assert!(store.insert_project(&row).await.unwrap());
        let registry = Arc::new(Noted::default());
        let images = Images::new(store, registry.clone(), keep);
        Self { images, registry, project, now: Timestamp::now(), _folder: folder }
    }

    /// A deployment with an image, which has come as far as `state`.
    async fn deployment(&self, image: &str, state: &State) -> DeploymentId {
        let store = &self.images.store;
        let id = DeploymentId::new();
        let source = Source::Upload { upload: UploadId::new(), label: None };
        let label = format!("shop-{}", id.short());
        let row = NewRow {
            id: id.clone(),
            label,
            project: self.project.clone(),
            source,
            source_login: None,
            given: Settings::default(),
        };
        assert!(store.insert_deployment(&row).await.unwrap());
        let row = store.deployment(&id).await.unwrap().unwrap();
        assert!(store.set_image(&row, image, self.now).await.unwrap());
        if *state != row.state {
            assert!(store.transition(&row, state).await.unwrap());
        }
        id
    }

    async fn look(&mut self, later: Duration) -> Vec<String> {
        self.now = self.now.after(later);
        self.images.look(self.now).await.unwrap();
        std::mem::take(&mut *self.registry.removed.lock().unwrap())
    }
}

fn failed() -> State {
    State::Failed(Failure::new("app_exited", "It ended."))
}

#[tokio::test]
async fn the_newest_and_the_live_images_stay() {
    let mut world = World::new(2).await;
    let oldest = world.deployment("shop@1", &State::Ready).await;
    world.images.store.activate(&world.project, &oldest).await.unwrap();
    for image in ["shop@2", "shop@3", "shop@4"] {
        world.deployment(image, &State::Ready).await;
    }
    world.deployment("shop@5", &failed()).await;
    world.deployment("shop@6", &State::Publishing).await;
    assert!(world.look(Duration::ZERO).await.is_empty(), "first they are noted");
    assert_eq!(world.look(WAIT).await, ["shop@2", "shop@5"]);
    assert!(world.look(WAIT).await.is_empty());
}

#[tokio::test]
async fn an_image_that_another_deployment_has_too_stays() {
    let mut world = World::new(1).await;
    world.deployment("shop@1", &State::Ready).await;
    world.deployment("shop@2", &State::Ready).await;
    world.deployment("shop@1", &State::Ready).await;
    world.look(Duration::ZERO).await;
    assert_eq!(world.look(WAIT).await, ["shop@2"]);
}

#[tokio::test]
async fn a_deployment_that_comes_to_need_an_image_takes_its_removal_back() {
    let mut world = World::new(1).await;
    world.deployment("shop@1", &failed()).await;
    world.look(Duration::ZERO).await;
    world.deployment("shop@1", &State::Starting).await;
    assert!(world.look(WAIT).await.is_empty());
}

#[tokio::test]
async fn an_image_that_is_being_deleted_is_not_to_be_had() {
    let world = World::new(1).await;
    let (now, store) = (world.now, &world.images.store);
    let id = world.deployment("shop@1", &failed()).await;
    store.note_unneeded_images(1, now, now).await.unwrap();
    assert!(store.take_image("shop@1", 1, now, now.after(LEASE)).await.unwrap());
    assert!(!store.take_image("shop@1", 1, now, now.after(LEASE)).await.unwrap(), "one control plane deletes it");
    assert_eq!(store.deployment(&id).await.unwrap().unwrap().image, None);
    let new = world.deployment("shop@2", &State::Starting).await;
    let new = store.deployment(&new).await.unwrap().unwrap();
    assert!(!store.set_image(&new, "shop@1", now).await.unwrap());
    store.image_removed("shop@1").await.unwrap();
    assert!(store.set_image(&new, "shop@1", now).await.unwrap());
}

#[tokio::test]
async fn what_can_not_be_deleted_is_tried_again_and_holds_nobody_up() {
    let mut world = World::new(1).await;
    world.deployment("shop@1", &failed()).await;
    world.look(Duration::ZERO).await;
    *world.registry.refuses.lock().unwrap() = true;
    assert!(world.look(WAIT).await.is_empty());
    *world.registry.refuses.lock().unwrap() = false;
    assert!(world.look(Duration::ZERO).await.is_empty(), "not before its time");
    assert_eq!(world.look(RETRY_FIRST).await, ["shop@1"]);
}

#[tokio::test]
async fn a_deleted_projects_images_go_at_once() {
    let mut world = World::new(5).await;
    world.deployment("shop@1", &State::Ready).await;
    world.images.store.delete_project(&world.project, world.now).await.unwrap();
    assert_eq!(world.look(Duration::ZERO).await, ["shop@1"]);
}
