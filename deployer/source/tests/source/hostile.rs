//! Archives that must be refused, each with a sentence that tells what to do.

use std::io::Write as _;

use source::Limits;
use zip::write::SimpleFileOptions;

use crate::kit::{END, ENTRY, LOCAL, Place, deflated, made, patch, positions, stored, zip};

/// Asserts that an archive is refused with a code, and with each of some words.
async fn refused(archive: Vec<u8>, code: &str, words: &[&str]) {
    refused_by(Limits::default(), archive, code, words).await;
}

async fn refused_by(limits: Limits, archive: Vec<u8>, code: &str, words: &[&str]) {
    let mut place = Place::new();
    place.limits = limits;
    let (got, sentence) = place.refused(archive).await;
    assert_eq!(got, code, "{sentence}");
    for word in words {
        assert!(sentence.contains(word), "{word}: {sentence}");
    }
}

#[tokio::test]
async fn what_is_not_a_zip() {
    refused(Vec::new(), "archive_invalid", &["not a ZIP"]).await;
    refused(b"<html>".to_vec(), "archive_invalid", &["not a ZIP"]).await;
    refused(b"\x1f\x8b\x08\x00....".to_vec(), "archive_invalid", &["gzip"]).await;
    refused(b"Rar!\x1a\x07".to_vec(), "archive_invalid", &["RAR"]).await;
    let mut tar = vec![0; 512];
    tar[257..262].copy_from_slice(b"ustar");
    refused(tar, "archive_invalid", &["tar"]).await;
}

#[tokio::test]
async fn one_without_files() {
    refused(zip(&[]), "archive_empty", &["no files"]).await;
    refused(zip(&[("a/", ""), ("__MACOSX/x", "")]), "archive_empty", &["no files"]).await;
}

#[tokio::test]
async fn one_that_was_cut_off() {
    let whole = zip(&[("index.html", &"x".repeat(5000)), ("b", "2")]);
    for length in [5, 40, whole.len() / 2, whole.len() - 30, whole.len() - 1] {
        refused(whole[..length].to_vec(), "archive_truncated", &["ends too early", "again"]).await;
    }
    refused(whole[10..].to_vec(), "archive_invalid", &["missing"]).await;
}

#[tokio::test]
async fn one_with_a_damaged_file() {
    let mut archive = made(|zip| {
        zip.start_file("index.html", stored()).unwrap();
        zip.write_all(b"hello world").unwrap();
    });
    let at = positions(&archive, b"hello")[0];
    archive[at] ^= 1;
    refused(archive, "archive_invalid", &["`index.html`", "damaged", "checksum"]).await;
}

#[tokio::test]
async fn one_with_a_password() {
    let mut archive = zip(&[("a", "1"), ("secret.txt", "2")]);
    patch(&mut archive, LOCAL, 6, &[1]);
    patch(&mut archive, ENTRY, 8, &[1]);
    refused(archive, "archive_encrypted", &["`a`", "without a password"]).await;
}

#[tokio::test]
async fn one_packed_with_another_method() {
    for (method, name) in [(14, "LZMA"), (93, "Zstandard"), (9, "Deflate64"), (77, "unusual")] {
        let mut archive = zip(&[("a", "1")]);
        patch(&mut archive, LOCAL, 8, &[method]);
        patch(&mut archive, ENTRY, 10, &[method]);
        refused(archive, "archive_unsupported", &["`a`", name]).await;
    }
}

#[tokio::test]
async fn one_of_a_hundred_thousand_entries() {
    let archive = made(|zip| {
        for index in 0..100_000 {
            zip.start_file(format!("{index}"), stored()).unwrap();
        }
    });
    refused(archive.clone(), "archive_too_many_files", &["100000 entries", "50000"]).await;
    // The same, made to look harmless at its end: the directory is counted.
    let mut archive = archive;
    let end = positions(&archive, END)[0];
    let end64 = positions(&archive, b"PK\x06\x06")[0];
    for at in [24, 32] {
        archive[end64 + at..end64 + at + 8].copy_from_slice(&5_u64.to_le_bytes());
    }
    refused(archive.clone(), "archive_too_many_files", &["too many entries"]).await;
    // The same from a tool that only knows the small form, in which the number does not fit.
    let start = positions(&archive, ENTRY)[0];
    let (size, count) = ((end64 - start) as u32, (100_000_u32 % 65_536) as u16);
    archive.drain(end64..end);
    let end = end64;
    for (at, value) in [(8, &count.to_le_bytes()[..]), (10, &count.to_le_bytes()), (12, &size.to_le_bytes())] {
        archive[end + at..end + at + value.len()].copy_from_slice(value);
    }
    archive[end + 16..end + 20].copy_from_slice(&(start as u32).to_le_bytes());
    refused(archive, "archive_too_many_files", &["too many entries"]).await;
}

#[tokio::test]
async fn one_that_claims_four_billion_entries() {
    let mut archive = made(|zip| {
        zip.start_file("a", stored()).unwrap();
        zip.set_raw_zip64_extensible_data_sector(Box::default());
    });
    patch(&mut archive, END, 8, &[0xff; 4]);
    for at in [24, 32] {
        patch(&mut archive, b"PK\x06\x06", at, &4_000_000_000_u64.to_le_bytes());
    }
    refused(archive, "archive_too_many_files", &["4000000000 entries"]).await;
}

#[tokio::test]
async fn one_whose_folders_are_too_many() {
    let archive = made(|zip| {
        for index in 0..20 {
            zip.start_file(format!("{index}/{}f", "d/".repeat(20)), stored()).unwrap();
        }
    });
    let limits = Limits { entries: 100, ..Limits::default() };
    refused_by(limits, archive, "archive_too_many_files", &["at most 100"]).await;
}

#[tokio::test]
async fn a_bomb_that_says_what_it_is() {
    let zeros = "\0".repeat(4 << 20);
    let limits = Limits { bytes: 10 << 20, ..Limits::default() };
    refused_by(limits, zip(&[("a", &zeros), ("b", &zeros), ("c", &zeros)]), "archive_too_large", &["10 MiB"]).await;
    let limits = Limits { file_bytes: 1 << 20, ..Limits::default() };
    refused_by(limits, zip(&[("a", "1"), ("big.bin", &zeros)]), "archive_too_large", &["`big.bin`", "1 MiB"]).await;
}

#[tokio::test]
async fn a_bomb_that_lies() {
    let limits = Limits { bytes: 1 << 20, file_bytes: 1 << 20, ..Limits::default() };
    let mut archive = zip(&[("a", &"\0".repeat(8 << 20))]);
    patch(&mut archive, LOCAL, 22, &10_u32.to_le_bytes());
    patch(&mut archive, ENTRY, 24, &10_u32.to_le_bytes());
    refused_by(limits, archive, "archive_invalid", &["`a`", "larger"]).await;
}

#[tokio::test]
async fn a_bomb_whose_entries_are_the_same_bytes() {
    let archive = made(|zip| {
        zip.start_file("a", deflated()).unwrap();
        zip.write_all(&[0; 100_000]).unwrap();
        for index in 0..100 {
            zip.shallow_copy_file("a", &format!("{index}")).unwrap();
        }
    });
    refused(archive, "archive_invalid", &["bomb"]).await;
}

#[tokio::test]
async fn one_that_is_larger_packed_than_it_may_be_unpacked() {
    let limits = Limits { bytes: 1000, ..Limits::default() };
    refused_by(limits, vec![0; 1001], "archive_too_large", &["1000 bytes"]).await;
}

#[tokio::test]
async fn names_that_lead_out() {
    // Made under a harmless name of the same length: the writer corrects some of these.
    let names = ["../../evil", "/etc/evil", "a/../../ev", "C:/evil.js", "..\\evil.js", "a\\..\\..\\b", "a\0/../evil"];
    for name in names {
        let harmless = "x".repeat(name.len());
        let mut archive = zip(&[(&harmless, "1")]);
        patch(&mut archive, harmless.as_bytes(), 0, name.as_bytes());
        refused(archive, "archive_unsafe_path", &["Rename"]).await;
    }
    let long = "n".repeat(300);
    refused(zip(&[(&long, "1")]), "archive_unsafe_path", &["255 bytes", "nnn…"]).await;
    let deep = "d/".repeat(100) + "f";
    refused(zip(&[(&deep, "1")]), "archive_unsafe_path", &["deep"]).await;
}

#[tokio::test]
async fn names_that_would_be_one_elsewhere() {
    let code = "archive_name_collision";
    refused(zip(&[("Logo.png", "1"), ("logo.png", "2")]), code, &["`Logo.png`", "`logo.png`", "case"]).await;
    let forms = [("caf\u{e9}.txt", "1"), ("cafe\u{301}.txt", "2")];
    refused(zip(&forms), code, &["caf\u{e9}", "cafe\u{301}", "Unicode"]).await;
    refused(zip(&[("a", "1"), ("a/b", "2")]), code, &["folder"]).await;
    refused(zip(&[("./a", "1"), ("a", "2")]), code, &["`a`", "twice"]).await;
    let mut twice = zip(&[("aaa", "1"), ("aab", "2")]);
    patch(&mut twice, b"aab", 0, b"aaa");
    refused(twice, code, &["`aaa`", "twice"]).await;
}

#[tokio::test]
async fn links_that_lead_out() {
    for target in ["/etc/passwd", "..", "../../x", "b/../../x", "", "a\\b"] {
        let archive = made(|zip| {
            zip.start_file("f", stored()).unwrap();
            zip.add_symlink("link", target, SimpleFileOptions::default()).unwrap();
        });
        refused(archive, "archive_unsafe_path", &["`link`"]).await;
    }
}

#[tokio::test]
async fn files_below_a_link() {
    let archive = made(|zip| {
        zip.add_symlink("link", "folder", SimpleFileOptions::default()).unwrap();
        zip.start_file("folder/a", stored()).unwrap();
        zip.start_file("link/b", stored()).unwrap();
    });
    refused(archive, "archive_name_collision", &["`link`"]).await;
}

#[tokio::test]
async fn devices_pipes_and_sockets() {
    for kind in [0o020_000_u32, 0o060_000, 0o010_000, 0o140_000] {
        let mut archive = zip(&[("a", "1"), ("dev", "")]);
        let last = positions(&archive, ENTRY)[1];
        archive[last + 38..last + 42].copy_from_slice(&((kind | 0o644) << 16).to_le_bytes());
        refused(archive, "archive_unsafe_path", &["`dev`", "device"]).await;
    }
}

#[tokio::test]
async fn one_that_is_split() {
    let mut archive = zip(&[("a", "1")]);
    patch(&mut archive, END, 4, &[3]);
    refused(archive, "archive_invalid", &["one part of several"]).await;
}
