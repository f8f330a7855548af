//! Archives as people make them.

use std::io::Write as _;

use common::id::UploadId;
use common::source::Source;
use zip::write::SimpleFileOptions;
use zip::{System, ZipWriter};

use crate::git_server::{GitServer, Item};
use crate::kit::{ENTRY, Place, deflated, made, patch, stored, tree, zip};

#[tokio::test]
async fn a_project_arrives_whole_and_the_log_says_how_much() {
    let place = Place::new();
    let files = [("site/index.html", "<h1>hello</h1>"), ("site/a/b/c.txt", ""), ("site/größe.txt", "ä")];
    let fetched = place.unpack(zip(&files)).await.unwrap();
    assert_eq!(fetched.commit, None);
    assert_eq!(place.tree(), tree(&files));
    assert_eq!(place.said().await, "Unpacked 3 files, 16 bytes.\n");
    assert!(place.beside().is_empty());
}

#[tokio::test]
async fn of_permissions_only_what_can_be_run_is_kept() {
    let place = Place::new();
    let modes = [("run.sh", 0o700), ("data", 0o666), ("setuid", 0o6755), ("locked", 0o000)];
    let archive = made(|zip| {
        zip.add_directory("empty/", stored().unix_permissions(0o000)).unwrap();
        for (name, mode) in modes {
            zip.start_file(name, stored().unix_permissions(mode)).unwrap();
        }
    });
    place.unpack(archive).await.unwrap();
    let got = modes.map(|(name, _)| place.mode(name));
    assert_eq!(got, [0o755, 0o644, 0o755, 0o644]);
    assert!(place.target().join("empty").is_dir());
}

#[tokio::test]
async fn links_within_the_archive_stay_links() {
    let place = Place::new();
    let archive = made(|zip| {
        zip.add_symlink("bin/tool", "../lib/tool.js", SimpleFileOptions::default()).unwrap();
        zip.start_file("lib/tool.js", stored()).unwrap();
        zip.add_symlink("dangling", "nowhere", SimpleFileOptions::default()).unwrap();
    });
    place.unpack(archive).await.unwrap();
    let expected = [("bin/tool", "-> ../lib/tool.js"), ("lib/tool.js", ""), ("dangling", "-> nowhere")];
    assert_eq!(place.tree(), tree(&expected));
}

#[tokio::test]
async fn what_an_operating_system_left_in_it_is_left_out() {
    let place = Place::new();
    place.unpack(zip(&[("a", "1"), ("__MACOSX/._a", "x"), (".DS_Store", "x"), ("b/.DS_Store", "x")])).await.unwrap();
    assert_eq!(place.tree(), tree(&[("a", "1")]));
}

#[tokio::test]
async fn backslashes_of_a_windows_tool_separate_folders() {
    let place = Place::new();
    let archive = made(|zip| {
        for name in [r"src\app\main.js", r"index.html"] {
            zip.start_file(name, stored().system(System::Dos)).unwrap();
            zip.write_all(b"1").unwrap();
        }
    });
    place.unpack(archive).await.unwrap();
    assert_eq!(place.tree(), tree(&[("src/app/main.js", "1"), ("index.html", "1")]));
}

#[tokio::test]
async fn a_name_that_is_not_utf_8_is_read_in_the_formats_old_code_page() {
    let place = Place::new();
    let mut archive = zip(&[("gr__e.txt", "1")]);
    // "größe" as DOS wrote it.
    patch(&mut archive, b"gr__e", 0, b"gr\x94\xe1e");
    place.unpack(archive).await.unwrap();
    assert_eq!(place.tree(), tree(&[("größe.txt", "1")]));
}

#[tokio::test]
async fn an_archive_with_something_before_or_after_it_is_read() {
    let place = Place::new();
    let commented = made(|zip| {
        zip.start_file("a", deflated()).unwrap();
        zip.set_comment("made by hand").unwrap();
    });
    let before = [b"#!/bin/sh\n".as_slice(), &commented, b"\n"].concat();
    place.unpack(before).await.unwrap();
    assert_eq!(place.tree(), tree(&[("a", "")]));
}

#[tokio::test]
async fn an_archive_that_was_written_as_a_stream_is_read() {
    let place = Place::new();
    let mut zip = ZipWriter::new_stream(Vec::new());
    for (name, options) in [("a", deflated()), ("b", stored()), ("c", deflated())] {
        zip.start_file(name, options).unwrap();
        zip.write_all(b"text").unwrap();
    }
    place.unpack(zip.finish().unwrap().into_inner()).await.unwrap();
    assert_eq!(place.tree(), tree(&[("a", "text"), ("b", "text"), ("c", "text")]));
}

#[tokio::test]
async fn an_archive_that_git_made_is_read() {
    let server = GitServer::start().await;
    let site = server.repository("site.git");
    site.commit_items("main", &[("bin/run", Item::Program(b"#!")), ("link", Item::Link("bin/run"))]);
    let place = Place::new();
    place.unpack(site.zip("main")).await.unwrap();
    assert_eq!(place.tree(), tree(&[("bin/run", "#!"), ("link", "-> bin/run")]));
    assert_eq!(place.mode("bin/run"), 0o755);
}

#[tokio::test]
async fn the_large_form_of_a_zip_is_read() {
    let place = Place::new();
    let archive = made(|zip| {
        for index in 0..3 {
            zip.start_file(format!("{index}"), stored().large_file(true)).unwrap();
            zip.write_all(b"x").unwrap();
        }
        // Makes the writer end the archive in the large form.
        zip.set_raw_zip64_extensible_data_sector(Box::default());
    });
    place.unpack(archive).await.unwrap();
    assert_eq!(place.tree().len(), 3);
}

#[tokio::test]
async fn a_folder_named_again_or_in_another_case_is_no_loss() {
    let place = Place::new();
    let mut archive = zip(&[("src/", ""), ("srx/", ""), ("SRC/a", "1"), ("src/b", "2")]);
    patch(&mut archive, ENTRY, 46, b"src");
    place.unpack(archive).await.unwrap_err();
    let place = Place::new();
    place.unpack(zip(&[("src/", ""), ("SRC/a", "1"), ("src/b", "2")])).await.unwrap();
    assert_eq!(place.tree(), tree(&[("SRC/a", "1"), ("src/b", "2")]));
}

#[tokio::test]
async fn an_upload_that_never_came_is_told() {
    let place = Place::new();
    let source = Source::Upload { upload: UploadId::new(), label: None };
    let error = place.fetch(&source, None).await.unwrap_err();
    assert_eq!(error.code(), "upload_missing");
    assert!(!error.is_transient());
}
