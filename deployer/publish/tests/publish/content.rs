//! What is stored, and what the manifest says of it.

use std::fmt::Write as _;

use common::manifest::Encoding;

use crate::world::{World, decoded};

/// Text that compresses as real pages do: varied, and not too well.
fn page(lines: usize) -> String {
    (0..lines).fold(String::from("<!doctype html><title>Grüße</title>\n"), |mut page, n| {
        let _ = writeln!(page, "<p class=\"c{}\">{}</p>", n % 7, blake3::hash(&n.to_le_bytes()).to_hex());
        page
    })
}

#[tokio::test]
async fn every_file_is_stored_under_its_hash_with_variants_that_decompress_to_it() {
    let (html, script) = (page(40), page(20_000));
    let world =
        World::with([("index.html", html.as_str()), ("assets/app-DkT2a_9x.js", &script), ("a b/ä.txt", "short")]);
    world.write("logo.png", [0x89, b'P', b'N', b'G', 0, 0xff].repeat(1000));
    let (manifest, published) = world.publish().await;

    let paths: Vec<&str> = manifest.files.keys().map(String::as_str).collect();
    assert_eq!(paths, ["/a b/ä.txt", "/assets/app-DkT2a_9x.js", "/index.html", "/logo.png"]);
    for (path, file) in &manifest.files {
        let content = std::fs::read(world.site(path.trim_start_matches('/'))).unwrap();
        assert_eq!(file.size, content.len() as u64);
        assert_eq!(file.hash, blake3::hash(&content).to_hex().as_str());
        assert_eq!(world.blob(&file.hash, None).await, content);
        for variant in &file.variants {
            let compressed = world.blob(&file.hash, Some(variant.encoding)).await;
            assert_eq!(variant.size, compressed.len() as u64);
            assert!(variant.size < file.size);
            assert_eq!(decoded(variant.encoding, &compressed), content, "{path} {:?}", variant.encoding);
        }
    }
    let encodings = |path: &str| manifest.files[path].variants.iter().map(|v| v.encoding).collect::<Vec<_>>();
    assert_eq!(encodings("/index.html"), Encoding::ALL);
    assert_eq!(encodings("/assets/app-DkT2a_9x.js"), Encoding::ALL);
    assert_eq!(encodings("/a b/ä.txt"), []);
    assert_eq!(encodings("/logo.png"), []);
    assert_eq!(manifest.files["/index.html"].content_type, "text/html; charset=utf-8");
    assert_eq!(manifest.files["/assets/app-DkT2a_9x.js"].content_type, "text/javascript; charset=utf-8");
    assert!(manifest.files["/assets/app-DkT2a_9x.js"].fingerprinted);
    assert!(!manifest.files["/index.html"].fingerprinted);

    let bytes = manifest.files.values().map(|f| f.size).sum();
    assert_eq!((published.files, published.new_files), (4, 4));
    assert_eq!((published.bytes, published.new_bytes), (bytes, bytes));
    assert_eq!(published.warnings, Vec::<String>::new());
}

#[tokio::test]
async fn a_file_too_large_for_memory_is_stored_as_it_is() {
    let world = World::with([("index.html", "<p>video</p>")]);
    let video: Vec<u8> = (0..20_000_000_u32).map(|n| (n / 251) as u8).collect();
    world.write("video.mp4", &video);
    world.write("dump.json", "[".to_owned() + &"1,".repeat(9 << 20) + "1]");
    let (manifest, published) = world.publish().await;
    assert_eq!(world.blob(&manifest.files["/video.mp4"].hash, None).await, video);
    assert_eq!(manifest.files["/video.mp4"].variants, []);
    assert_eq!(manifest.files["/dump.json"].variants, []);
    assert_eq!(published.new_files, 3);
    assert_eq!(world.blobs().len(), 3, "nothing half-written is left");
}

#[tokio::test]
async fn files_with_equal_content_are_stored_once() {
    let same = page(10);
    let world = World::with([("index.html", same.as_str()), ("copy.html", &same), ("raw.bin", &same)]);
    let (manifest, published) = world.publish().await;
    assert_eq!((published.files, published.new_files, published.new_bytes), (3, 1, same.len() as u64));
    assert_eq!(world.blobs().len(), 4, "the blob and three variants");
    assert_eq!(manifest.files["/raw.bin"].variants.len(), 3);
    assert_eq!(manifest.files["/raw.bin"].content_type, "application/octet-stream");
}

#[tokio::test]
async fn a_page_in_an_old_encoding_is_not_called_utf_8() {
    let world = World::new();
    world.write("index.html", b"<meta charset=iso-8859-1>caf\xe9");
    let (manifest, _) = world.publish().await;
    assert_eq!(manifest.files["/index.html"].content_type, "text/html");
}

#[tokio::test]
async fn client_side_routing_needs_an_index_and_no_page_for_missing_ones() {
    for (files, wanted) in
        [(vec!["index.html"], true), (vec!["index.html", "404.html"], false), (vec!["main.html"], false)]
    {
        let world = World::with(files.iter().map(|f| (*f, "x")));
        assert_eq!(world.publish().await.0.single_page, wanted, "{files:?}");
    }
}

#[tokio::test]
async fn five_thousand_small_files_are_published() {
    let world = World::with([("index.html", "x")]);
    for n in 0..5000 {
        world.write(&format!("{}/{n}.svg", n % 50), format!("<svg id=\"{n}\"/>"));
    }
    let (manifest, published) = world.publish().await;
    assert_eq!(published.new_files, 5001);
    assert_eq!(manifest.files.len(), 5001);
    assert_eq!(world.blob(&manifest.files["/7/4957.svg"].hash, None).await, "<svg id=\"4957\"/>");
}
