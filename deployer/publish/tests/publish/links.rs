//! Links: followed inside the folder, refused otherwise.

use std::path::PathBuf;

use common::id::DeploymentId;
use publish::{Limits, PublishError, Site, publish};

use crate::world::World;

async fn refused(world: &World) -> String {
    let error = world.refused(&Limits::default()).await;
    assert_eq!(error.code(), "unsafe_link", "{error}");
    assert!(!error.is_transient());
    error.to_string()
}

#[tokio::test]
async fn a_link_inside_stands_for_what_it_points_to() {
    let world = World::with([("index.html", "home"), ("v2/guide/index.html", "guide"), ("v2/a.txt", "a")]);
    world.link("home.html", "index.html");
    world.link("v2/guide/up.html", "../../home.html");
    world.link("latest", "v2");
    let (manifest, _) = world.publish().await;
    let hash = |path: &str| manifest.files[path].hash.as_str();
    assert_eq!(hash("/home.html"), hash("/index.html"));
    assert_eq!(hash("/latest/guide/up.html"), hash("/index.html"));
    assert_eq!(hash("/latest/guide/index.html"), hash("/v2/guide/index.html"));
    assert_eq!(manifest.files.len(), 8);
}

#[tokio::test]
async fn a_link_that_leaves_the_folder_is_refused_by_name() {
    for target in ["../outside/secret", "a/../../outside/secret", "/etc/passwd", "..", "a/b/../../../site/index.html"] {
        let world = World::with([("index.html", "x"), ("a/b/c.html", "x")]);
        std::fs::write(world.outside("secret"), "secret").unwrap();
        world.link("leak.html", target);
        let message = refused(&world).await;
        assert!(message.contains("/leak.html") && message.contains("leaves the folder"), "{target}: {message}");
    }
}

#[tokio::test]
async fn a_link_through_another_link_may_not_leave_either() {
    let world = World::with([("index.html", "x"), ("a/b/c.html", "x")]);
    std::fs::write(world.outside("secret"), "secret").unwrap();
    world.link("a/b/door", "../../..");
    std::fs::remove_file(world.site("a/b/c.html")).unwrap();
    world.link("leak.html", "a/b/door/outside/secret");
    refused(&world).await;
}

#[tokio::test]
async fn a_link_to_nothing_or_to_itself_is_refused() {
    for (target, wanted) in
        [("gone.html", "points to nothing"), ("index.html/x", "points to nothing"), ("me.html", "leads back to itself")]
    {
        let world = World::with([("index.html", "x")]);
        world.link("me.html", target);
        let message = refused(&world).await;
        assert!(message.contains("/me.html") && message.contains(wanted), "{message}");
    }
}

#[tokio::test]
async fn links_that_lead_round_are_refused() {
    for links in [
        [("a/round", "."), ("b/x", "../a/f")],
        [("a/round", ".."), ("b/x", "../a/f")],
        [("a/l", "../b"), ("b/m", "../a")],
    ] {
        let world = World::with([("index.html", "x"), ("a/f", "x"), ("b/f", "x")]);
        for (path, target) in links {
            world.link(path, target);
        }
        let message = refused(&world).await;
        assert!(message.contains("a folder that it lies in"), "{message}");
    }
}

#[tokio::test]
async fn links_that_multiply_a_folder_end_at_the_limit() {
    let world = World::with([("index.html", "x")]);
    for n in 0..20 {
        world.link(&format!("{n}/a"), format!("../{}", n + 1));
        world.link(&format!("{n}/b"), format!("../{}", n + 1));
    }
    world.write("20/f", "x");
    let error = world.refused(&Limits { files: 1000, ..Limits::default() }).await;
    assert!(matches!(error, PublishError::TooManyFiles { limit: 1000 }), "{error}");
}

#[tokio::test]
async fn a_link_does_not_publish_what_is_left_out() {
    for target in [".env", ".git/config", ".git"] {
        let world = World::with([("index.html", "x"), (".env", "KEY=1"), (".git/config", "x")]);
        world.link("config.txt", target);
        let message = refused(&world).await;
        assert!(message.contains(target) && message.contains("not published"), "{message}");
    }
}

#[tokio::test]
async fn a_page_may_link_to_a_file_of_an_installed_package() {
    let world = World::with([
        ("index.html", "x"),
        ("package.json", "{}"),
        ("node_modules/.pnpm/b@5/node_modules/b/b.css", "body{}"),
    ]);
    world.link("node_modules/b", ".pnpm/b@5/node_modules/b");
    world.link("css/b.css", "../node_modules/b/b.css");
    let (manifest, _) = world.publish().await;
    assert_eq!(manifest.files.keys().collect::<Vec<_>>(), ["/css/b.css", "/index.html", "/package.json"]);
}

#[tokio::test]
async fn a_folder_that_is_itself_a_link_is_refused_however_it_is_written() {
    let world = World::with([("index.html", "x")]);
    let (link, deployment) = (world.outside("link"), DeploymentId::new());
    std::os::unix::fs::symlink(world.site(""), &link).unwrap();
    for end in ["", "/", "/.", "//"] {
        let folder = PathBuf::from(format!("{}{end}", link.display()));
        let site = Site { folder: &folder, single_page: false, deployment: &deployment, previous: None };
        let error = publish(&world.store, site, &Limits::default()).await.unwrap_err();
        assert_eq!(error.code(), "unsafe_path", "{end}: {error}");
        assert_eq!(world.manifest(&deployment).await, None);
    }
}
