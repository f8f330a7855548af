//! Archives damaged at random: never a panic, never a fault of ours, never anything written elsewhere.

use std::io::Write as _;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use source::Limits;
use zip::write::SimpleFileOptions;

use crate::kit::{END, ENTRY, LOCAL, Place, deflated, made, positions, stored};

/// Archives that are tried: enough to hit every field of the format many times, in a few seconds.
const TRIES: u64 = 600;

fn archive() -> Vec<u8> {
    made(|zip| {
        zip.add_directory("src/", stored()).unwrap();
        zip.start_file("src/index.html", deflated().unix_permissions(0o755)).unwrap();
        zip.write_all("<p>hello</p>".repeat(50).as_bytes()).unwrap();
        zip.start_file("größe/ä.txt", stored().large_file(true)).unwrap();
        zip.write_all(b"some text").unwrap();
        zip.add_symlink("src/link", "index.html", SimpleFileOptions::default()).unwrap();
        zip.set_comment("a comment").unwrap();
    })
}

/// Damages an archive: mostly where its structure is, for there the damage is interesting.
fn mutate(archive: &mut Vec<u8>, random: &mut StdRng) {
    let marks: Vec<_> = [LOCAL, ENTRY, END].iter().flat_map(|mark| positions(archive, mark)).collect();
    for _ in 0..random.random_range(1..4) {
        let length = archive.len();
        match random.random_range(0..10) {
            0 => archive.truncate(random.random_range(0..length)),
            1 => {
                let at = random.random_range(0..length);
                archive.insert(at, random.random());
            }
            2 => {
                let (from, to) = (random.random_range(0..length), random.random_range(0..length));
                let part = archive[from..(from + 64).min(length)].to_vec();
                archive.splice(to..to, part);
            }
            3 => {
                let at = random.random_range(0..length);
                archive[at] = random.random();
            }
            _ => {
                let at = marks[random.random_range(0..marks.len())] + random.random_range(0..80);
                let bytes: [u8; 4] = [[0; 4], [0xff; 4], random.random(), *b"../x"][random.random_range(0..4)];
                for (offset, byte) in bytes.iter().take(random.random_range(1..=4)).enumerate() {
                    if let Some(place) = archive.get_mut(at + offset) {
                        *place = *byte;
                    }
                }
            }
        }
        if archive.len() < 4 {
            return;
        }
    }
}

#[tokio::test]
async fn a_damaged_archive_does_no_harm() {
    let whole = archive();
    let mut refused = 0;
    for seed in 0..TRIES {
        let mut random = StdRng::seed_from_u64(seed);
        let mut damaged = whole.clone();
        mutate(&mut damaged, &mut random);
        let mut place = Place::new();
        place.limits = Limits { bytes: 1 << 20, file_bytes: 1 << 19, entries: 100, ..Limits::default() };
        if let Err(error) = place.unpack(damaged).await {
            assert!(error.code().starts_with("archive_"), "seed {seed}: {error:?}");
            refused += 1;
        }
        assert!(place.beside().is_empty(), "seed {seed}");
        for (path, text) in place.tree() {
            assert!(text.len() <= 1 << 19, "seed {seed}: {path}");
            assert!(!text.starts_with("-> /") && !text.starts_with("-> .."), "seed {seed}: {path} {text}");
        }
    }
    assert!(refused > TRIES / 3, "most damage is noticed: {refused} of {TRIES}");
}
