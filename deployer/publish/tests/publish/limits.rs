//! Too much, and nothing.

use publish::Limits;

use crate::world::World;

#[tokio::test]
async fn a_site_may_be_as_large_as_its_limits_and_no_larger() {
    let fits = Limits { files: 3, bytes: 12, file_bytes: 6 };
    let world = World::with([("index.html", "123456"), ("a/b.html", "12345"), ("c", "1")]);
    let site = publish::Site {
        folder: &world.site(""),
        single_page: false,
        deployment: &common::id::DeploymentId::new(),
        previous: None,
    };
    assert_eq!(publish::publish(&world.store, site, &fits).await.unwrap().bytes, 12);

    for (limits, code, told) in [
        (Limits { files: 2, ..fits }, "too_many_files", "more than 2 files"),
        (Limits { bytes: 11, ..fits }, "site_too_large", "11 bytes"),
        (Limits { file_bytes: 5, ..fits }, "file_too_large", "/index.html has 6 bytes"),
    ] {
        let error = world.refused(&limits).await;
        assert_eq!(error.code(), code);
        assert!(error.to_string().contains(told), "{error}");
    }
}

#[tokio::test]
async fn folders_without_files_have_a_limit_too() {
    let world = World::with([("index.html", "x")]);
    for n in 0..30 {
        std::fs::create_dir_all(world.site(&format!("{}/{n}", n % 3))).unwrap();
    }
    assert_eq!(world.refused(&Limits { files: 20, ..Limits::default() }).await.code(), "too_many_files");
}

#[tokio::test]
async fn a_sparse_giant_is_refused_before_it_is_read() {
    let world = World::with([("index.html", "x")]);
    let file = std::fs::File::create(world.site("giant.bin")).unwrap();
    file.set_len(1 << 42).unwrap();
    assert_eq!(world.refused(&Limits::default()).await.code(), "file_too_large");
}

#[tokio::test]
async fn a_folder_without_files_is_refused_with_what_was_left_out() {
    let world = World::new();
    std::fs::create_dir_all(world.site("assets/img")).unwrap();
    let error = world.refused(&Limits::default()).await;
    assert_eq!(error.code(), "empty_site");
    assert!(error.to_string().contains("output directory"), "{error}");

    world.write(".env", "KEY=1");
    assert!(world.refused(&Limits::default()).await.to_string().contains("/.env"));

    std::fs::remove_dir_all(world.site("")).unwrap();
    assert_eq!(world.refused(&Limits::default()).await.code(), "empty_site");
}
