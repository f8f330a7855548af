//! `_redirects` and `_headers`.

use common::password;

use crate::world::World;

#[tokio::test]
async fn what_a_site_says_of_its_addresses_is_in_the_manifest_and_not_among_its_files() {
    let world = World::with([
        ("index.html", "x"),
        ("_redirects", "/old/* /new/:splat 302\n/gone 410\n"),
        ("_headers", "/*\n  X-Frame-Options: DENY\n/admin/*\n  Basic-Auth: ann:s3cret\n"),
    ]);
    let (manifest, published) = world.publish().await;
    assert_eq!(manifest.files.keys().collect::<Vec<_>>(), ["/index.html"]);
    assert_eq!(manifest.redirects.len(), 2);
    assert_eq!((manifest.redirects[0].from.path.as_str(), manifest.redirects[0].status), ("/old/*", 302));
    assert_eq!(manifest.headers[0].add, [("x-frame-options".to_owned(), "DENY".to_owned())]);
    assert_eq!(manifest.logins[0].on.path, "/admin/*");
    assert_eq!(password::verify(&manifest.logins[0].users[0].hash, b"s3cret"), Ok(true));
    assert_eq!(published.warnings, [""; 0]);
}

#[tokio::test]
async fn lines_that_are_not_honoured_are_told_and_keep_nothing_from_being_published() {
    let world = World::with([
        ("index.html", "x"),
        ("about.html", "x"),
        ("_redirects", "/a /b\n/api/* https://api.example/:splat 200\n/about /x\n"),
        ("_headers", "/*\n  Content-Length: 1\n  X-A: b\n"),
    ]);
    let (manifest, published) = world.publish().await;
    assert_eq!((manifest.redirects.len(), manifest.headers.len()), (2, 1));
    let told = published.warnings;
    assert_eq!(told.len(), 3, "{told:?}");
    assert!(told[0].contains("_redirects line 2 is not honoured") && told[0].contains("other servers"), "{told:?}");
    assert!(told[1].contains("_redirects line 3: the site has a file at /about"), "{told:?}");
    assert!(told[2].contains("_headers line 2 is not honoured"), "{told:?}");
}

#[tokio::test]
async fn a_file_of_rules_that_can_not_be_read_is_told() {
    let world = World::with([("index.html", "x"), (".env", "SECRET=1")]);
    world.write("_redirects", b"/a /b \xff");
    world.link("_headers", ".env");
    let (manifest, published) = world.publish().await;
    assert!(manifest.redirects.is_empty() && manifest.headers.is_empty());
    let told = published.warnings.concat();
    assert!(told.contains("_redirects is not honoured: it is no UTF-8 text"), "{told}");
    assert!(told.contains("_headers is not honoured: the link points to what is not published"), "{told}");

    let world = World::with([("index.html", "x"), ("config/rules", "/a /b"), ("_headers/x", "y")]);
    world.link("_redirects", "config/rules");
    let (manifest, published) = world.publish().await;
    assert_eq!(manifest.redirects.len(), 1, "a link inside the site is followed");
    assert!(
        published.warnings.concat().contains("_headers is not honoured: it is no file"),
        "{:?}",
        published.warnings
    );
}

#[tokio::test]
async fn a_site_may_do_nothing_but_redirect() {
    let world = World::with([("_redirects", "/* https://new.example/:splat 301\n")]);
    let (manifest, published) = world.publish().await;
    assert_eq!((manifest.files.len(), manifest.redirects.len()), (0, 1));
    assert_eq!(published.warnings, [""; 0]);
}

#[tokio::test]
async fn a_deployment_without_rules_has_the_manifest_that_it_always_had() {
    let world = World::with([("index.html", "x")]);
    let (deployment, ..) = world.publish_after(None).await;
    let json = common::blob::get(&world.store, &common::manifest::manifest_key(&deployment)).await.unwrap();
    let json = String::from_utf8(json.to_vec()).unwrap();
    assert!(!json.contains("redirects") && !json.contains("headers") && !json.contains("logins"), "{json}");
}
