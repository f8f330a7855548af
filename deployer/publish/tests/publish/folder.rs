//! Names and kinds of files that a folder may hold.

use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::UnixListener;

use publish::Limits;

use crate::world::World;

const NFC: &str = "caf\u{e9}.html";
const NFD: &str = "cafe\u{301}.html";

#[tokio::test]
async fn names_are_published_in_nfc() {
    let world = World::with([("index.html", "x"), (NFD, "x")]);
    let (manifest, _) = world.publish().await;
    assert!(manifest.files.contains_key(&format!("/{NFC}")));
}

#[tokio::test]
async fn names_that_become_equal_are_refused_and_both_named() {
    let world = World::with([(NFC, "one"), (NFD, "two")]);
    let error = world.refused(&Limits::default()).await;
    assert_eq!(error.code(), "name_collision");
    let message = error.to_string();
    assert!(message.contains(r"caf\u{e9}.html") && message.contains(r"cafe\u{301}.html"), "{message}");
}

#[tokio::test]
async fn folders_that_become_equal_are_one_unless_a_file_collides() {
    let world = World::with([("index.html", "x"), ("\u{e9}/a", "1"), ("e\u{301}/b", "2")]);
    assert_eq!(world.publish().await.0.files.len(), 3);
    world.write("e\u{301}/a", "3");
    assert_eq!(world.refused(&Limits::default()).await.code(), "name_collision");
}

#[tokio::test]
async fn names_that_differ_in_case_are_both_published_with_a_warning() {
    let world = World::with([("index.html", "x"), ("Logo.svg", "1"), ("logo.svg", "2")]);
    let (manifest, published) = world.publish().await;
    assert_eq!(manifest.files.len(), 3);
    assert!(published.warnings[0].contains("/Logo.svg and /logo.svg"), "{:?}", published.warnings);
}

#[tokio::test]
async fn names_that_no_address_can_carry_are_refused() {
    let long = format!("{}/x", "d".repeat(250)).repeat(5);
    let deep = "d/".repeat(70) + "x";
    for name in ["line\nbreak", "bell\u{7}", long.as_str(), deep.as_str()] {
        let world = World::with([("index.html", "x"), (name, "x")]);
        let error = world.refused(&Limits::default()).await;
        assert_eq!(error.code(), "unsafe_path");
        assert!(!error.to_string().contains(char::is_control) && error.to_string().len() < 600, "{error}");
    }
    let world = World::with([("index.html", "x")]);
    std::fs::write(world.site("").join(std::ffi::OsStr::from_bytes(b"caf\xe9.html")), "x").unwrap();
    assert_eq!(world.refused(&Limits::default()).await.code(), "unsafe_path");
}

#[tokio::test]
async fn pipes_and_sockets_are_refused() {
    let world = World::with([("index.html", "x")]);
    let _socket = UnixListener::bind(world.site("socket")).unwrap();
    let error = world.refused(&Limits::default()).await;
    assert_eq!(error.code(), "unsafe_path");
    assert!(error.to_string().contains("/socket"), "{error}");

    let world = World::with([("index.html", "x")]);
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mknodat(rustix::fs::CWD, world.site("pipe"), rustix::fs::FileType::Fifo, mode, 0).unwrap();
    world.link("page.html", "pipe");
    assert_eq!(world.refused(&Limits::default()).await.code(), "unsafe_path");
}

#[tokio::test]
async fn leftovers_and_secrets_stay_out_and_the_developer_is_told() {
    let world = World::with([
        ("index.html", "x"),
        (".well-known/security.txt", "x"),
        (".well-known/.secret", "x"),
        (".git/config", "x"),
        (".gitignore", "x"),
        ("img/.DS_Store", "x"),
        (".env", "KEY=1"),
        ("api/.env.production", "KEY=1"),
        (".htaccess", "x"),
        ("_headers", "x"),
        ("docs/_headers", "x"),
        ("package.json", "{}"),
        ("node_modules/a/index.js", "x"),
        ("assets/node_modules/icons/a.svg", "x"),
    ]);
    let (manifest, published) = world.publish().await;
    let paths: Vec<&str> = manifest.files.keys().map(String::as_str).collect();
    assert_eq!(
        paths,
        [
            "/.well-known/security.txt",
            "/assets/node_modules/icons/a.svg",
            "/docs/_headers",
            "/index.html",
            "/package.json"
        ]
    );
    let told = published.warnings;
    assert_eq!(told.len(), 4, "{told:?}");
    for (warning, names) in told.iter().zip([
        &["/.env", "/api/.env.production", "secrets"][..],
        &["/.htaccess", "/.well-known/.secret"],
        &["/node_modules"],
        &["_headers line 1 is not honoured"],
    ]) {
        assert!(names.iter().all(|n| warning.contains(n)), "{warning}");
    }
    assert!(!told.concat().contains(".git"), "{told:?}");
}

#[tokio::test]
async fn a_site_without_index_is_published_with_a_warning_that_says_where_one_is() {
    let world = World::with([("main.html", "x")]);
    assert_eq!(world.publish().await.1.warnings, ["There is no index.html: / answers 404."]);
    world.write("a/b/index.html", "x");
    world.write("dist/index.html", "x");
    let (_, published) = world.publish().await;
    assert!(published.warnings[0].contains("The folder /dist has one"), "{:?}", published.warnings);
}
