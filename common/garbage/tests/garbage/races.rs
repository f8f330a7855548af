//! Publishers, sweepers and deletions at once, in random orders, some of them cut off in the middle.

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use common::blob::{self, ObjectStore};
use common::id::DeploymentId;
use common::manifest::manifest_key;
use futures::stream::BoxStream;
use futures::{StreamExt as _, future, stream};
use garbage::{AFTERWARDS, GarbageError, Intent};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore as Port,
    ObjectStoreExt as _, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use crate::world::{GRACE, World, hash, settings};

/// Contents that all sites of these tests are made of: few, so that they meet.
const CONTENTS: [&str; 5] = ["a", "b", "c", "d", "e"];
/// Orders that are tried.
const SEEDS: u64 = 60;
/// A request takes at most this, milliseconds: long enough that others come between.
const REQUEST: u64 = 50;
/// A list takes at most this, milliseconds: a pass asks for hundreds.
const LIST: u64 = 2;
/// Deployments that each publisher makes, one after the other.
const DEPLOYMENTS: usize = 5;
/// What was asked for happens at most so much later when nobody waits for it any more, milliseconds.
const LATE: u64 = 60_000;

/// A store whose requests take a while, and go on when nobody waits for them any more.
#[derive(Debug)]
struct Slow {
    inner: Arc<InMemory>,
    random: Mutex<StdRng>,
}

impl fmt::Display for Slow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("slow")
    }
}

impl Slow {
    fn draw(&self, most: u64) -> Duration {
        Duration::from_millis(self.random.lock().unwrap().random_range(0..most))
    }

    async fn pass(&self) {
        tokio::time::sleep(self.draw(REQUEST)).await;
    }

    /// Some requests are slow to arrive; they do, whether or not somebody waits.
    async fn carry<T: Send + 'static>(&self, request: impl Future<Output = T> + Send + 'static) -> T {
        let late = self.random.lock().unwrap().random_ratio(1, 20);
        let (before, after) = (self.draw(if late { LATE } else { REQUEST }), self.draw(REQUEST));
        let arrives = tokio::spawn(async move {
            tokio::time::sleep(before).await;
            request.await
        });
        let answer = arrives.await.unwrap();
        tokio::time::sleep(after).await;
        answer
    }
}

#[async_trait]
impl Port for Slow {
    async fn put_opts(&self, to: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        let (inner, to) = (Arc::clone(&self.inner), to.clone());
        self.carry(async move { inner.put_opts(&to, payload, options).await }).await
    }

    async fn put_multipart_opts(&self, to: &Path, options: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(to, options).await
    }

    async fn get_opts(&self, from: &Path, options: GetOptions) -> Result<GetResult> {
        self.pass().await;
        let found = self.inner.get_opts(from, options).await;
        self.pass().await;
        found
    }

    fn delete_stream(&self, paths: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let inner = Arc::clone(&self.inner);
        let random = Mutex::new(StdRng::seed_from_u64(self.random.lock().unwrap().random()));
        let slow = Arc::new(Self { inner, random });
        paths
            .then(move |path| {
                let slow = Arc::clone(&slow);
                async move {
                    let (inner, path) = (Arc::clone(&slow.inner), path?);
                    let gone = path.clone();
                    slow.carry(async move { inner.delete(&gone).await }).await.map(|()| path)
                }
            })
            .boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let inner = Arc::clone(&self.inner);
        let (before, after) = (self.draw(LIST), self.draw(LIST));
        let prefix = prefix.cloned();
        let listed = async move {
            tokio::time::sleep(before).await;
            let all: Vec<_> = inner.list(prefix.as_ref()).collect().await;
            tokio::time::sleep(after).await;
            stream::iter(all)
        };
        stream::once(listed).flatten().boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

fn some(random: &mut StdRng) -> Vec<&'static str> {
    CONTENTS.into_iter().filter(|_| random.random_bool(0.3)).collect()
}

fn moment(random: &mut StdRng) -> Duration {
    Duration::from_millis(random.random_range(0..4_000))
}

/// Publishes after a while; some are cut off, and some of those are taken over by another deployer. Also says whether it
/// was published in the end.
async fn publisher(world: World, mut random: StdRng) -> (DeploymentId, bool) {
    tokio::time::sleep(moment(&mut random)).await;
    let id = world.database.begin();
    let first = tokio::spawn({
        let (world, id, contents) = (world.clone(), id.clone(), some(&mut random));
        async move { world.publish(&id, &contents).await }
    });
    let mut published = false;
    if random.random_bool(0.3) {
        tokio::time::sleep(moment(&mut random) / 4).await;
        // One that lost its lease does not know it yet and goes on.
        if random.random_bool(0.5) {
            first.abort();
        }
        if random.random_bool(0.5) {
            world.publish(&id, &some(&mut random)).await;
            published = true;
        }
    }
    published |= first.await.is_ok();
    world.database.end(&id);
    (id, published)
}

/// Publishes again and again; most of it is deleted again, so that there is garbage.
async fn busy(world: World, mut random: StdRng) -> Vec<(DeploymentId, bool)> {
    let mut made = Vec::new();
    for _ in 0..DEPLOYMENTS {
        let (id, published) = publisher(world.clone(), StdRng::seed_from_u64(random.random())).await;
        let kept = deleter(world.clone(), StdRng::seed_from_u64(random.random()), vec![id]).await;
        made.extend(kept.into_iter().map(|id| (id, published)));
    }
    made
}

/// Sweeps again and again; some passes are cut off. Returns how much the others deleted.
async fn sweeper(world: World, mut random: StdRng) -> u64 {
    let mut deleted = 0;
    for _ in 0..20 {
        tokio::time::sleep(moment(&mut random) / 4).await;
        let pass = tokio::spawn({
            let world = world.clone();
            async move { garbage::collect(&world.store, &world.database, &settings(Duration::ZERO), false).await }
        });
        if random.random_bool(0.3) {
            tokio::time::sleep(moment(&mut random)).await;
            pass.abort();
        }
        match pass.await {
            Ok(Ok(report)) => deleted += report.deleted,
            Err(_) | Ok(Err(GarbageError::Busy(_))) => {}
            Ok(Err(e)) => panic!("{e}"),
        }
    }
    deleted
}

async fn deleter(world: World, mut random: StdRng, ids: Vec<DeploymentId>) -> Vec<DeploymentId> {
    let mut kept = Vec::new();
    for id in ids {
        if random.random_bool(0.8) {
            tokio::time::sleep(moment(&mut random)).await;
            world.database.forget(&id);
            blob::delete(&world.store, &manifest_key(&id)).await.unwrap();
        } else {
            kept.push(id);
        }
    }
    kept
}

#[tokio::test(start_paused = true)]
async fn whatever_the_order_no_named_content_is_lost_and_all_garbage_goes_in_the_end() {
    let mut deleted = 0;
    for seed in 0..SEEDS {
        let mut random = StdRng::seed_from_u64(seed);
        let mut fork = || StdRng::seed_from_u64(random.random());
        let slow = Slow { inner: Arc::new(InMemory::new()), random: Mutex::new(fork()) };
        let world = World::new(Arc::new(slow) as ObjectStore);
        let mut old = Vec::new();
        for _ in 0..3 {
            old.push(world.deploy(&some(&mut fork())).await);
        }
        let publishers = (0..4).map(|_| busy(world.clone(), fork())).collect::<Vec<_>>();
        let sweepers = (0..2).map(|_| sweeper(world.clone(), fork())).collect::<Vec<_>>();
        let deleter = deleter(world.clone(), fork(), old);
        let (mut kept, new, swept) =
            future::join3(deleter, future::join_all(publishers), future::join_all(sweepers)).await;
        deleted += swept.iter().sum::<u64>();
        let (new, failed): (Vec<_>, Vec<_>) = new.into_iter().flatten().partition(|(_, published)| *published);
        kept.extend(new.into_iter().map(|(id, _)| id));
        // What was cut off, and has not arrived yet, arrives.
        tokio::time::sleep(AFTERWARDS * 2).await;
        assert_eq!(world.lost(&kept).await, Vec::<String>::new(), "seed {seed}");

        for _ in 0..3 {
            let report = world.collect(Duration::ZERO).await;
            deleted += report.deleted;
        }
        assert_eq!(world.lost(&kept).await, Vec::<String>::new(), "seed {seed}");
        // The manifest of one that failed may have arrived late. Nobody is shown it, and its row is kept.
        kept.extend(failed.into_iter().map(|(id, _)| id));
        let named = world.named(&kept).await;
        for content in CONTENTS.into_iter().filter(|content| !named.contains(&hash(content))) {
            assert!(!world.has(content).await, "seed {seed}: {content}");
        }
    }
    assert!(deleted > SEEDS, "{deleted} deletions make no race");
}

#[tokio::test(start_paused = true)]
async fn a_publisher_waits_for_a_sweeper_that_deletes_what_it_needs() {
    let world = World::in_memory();
    world.put("page").await;
    let condemned = serde_json::json!({
        "until": crate::world::now().after(Duration::from_secs(60)), "hashes": [hash("page")],
    });
    blob::put(&world.store, "gc/condemned.json", condemned.to_string().into()).await.unwrap();
    let other = world.database.begin();
    // Others do not wait.
    Intent::declare(&world.store, &other, [hash("other")].into(), crate::world::now).await.unwrap().end().await;
    let id = world.database.begin();
    let publishing = tokio::spawn({
        let (world, id) = (world.clone(), id.clone());
        async move { world.publish(&id, &["page"]).await }
    });
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert!(!publishing.is_finished());
    // The sweeper comes to its end.
    world.store.delete(&Path::from(common::manifest::blob_key(&hash("page"), None))).await.unwrap();
    blob::delete(&world.store, "gc/condemned.json").await.unwrap();
    publishing.await.unwrap();
    assert!(world.lost(&[id]).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_sweeper_that_died_holds_nobody_up_for_ever() {
    let world = World::in_memory();
    let condemned = serde_json::json!({ "until": crate::world::now(), "hashes": [hash("page")] });
    blob::put(&world.store, "gc/condemned.json", condemned.to_string().into()).await.unwrap();
    let busy = garbage::collect(&world.store, &world.database, &settings(GRACE), false).await.unwrap_err();
    assert!(matches!(busy, GarbageError::Busy(_)), "{busy}");
    // Time passes by itself when everybody waits.
    let id = world.deploy(&["page"]).await;
    assert!(world.lost(&[id]).await.is_empty());
    world.collect(GRACE).await;
    assert!(blob::size(&world.store, "gc/condemned.json").await.unwrap().is_none());
}
