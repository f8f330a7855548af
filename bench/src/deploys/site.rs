//! The site that is deployed: a hundred files of the sizes and kinds that sites are made of.

use std::fmt::Write as _;
use std::path::Path;

/// Files of the site.
const FILES: usize = 100;
/// Bytes of a text file, about: the median page and script of a small site.
const TEXT_BYTES: usize = 10 << 10;

/// Writes the site; files that hold `word` differ from those of another word.
pub fn write(folder: &Path, word: &str) -> std::io::Result<()> {
    if folder.exists() {
        std::fs::remove_dir_all(folder)?;
    }
    std::fs::create_dir_all(folder.join("assets"))?;
    std::fs::write(folder.join("index.html"), format!("<!doctype html><title>{word}</title><h1>{word}</h1>"))?;
    for number in 1..FILES {
        let kind = ["html", "css", "js", "svg"][number % 4];
        let mut text = format!("/* {word} {number} */\n");
        let mut seed = number as u64;
        while text.len() < TEXT_BYTES {
            // A generator of Lehmer's kind: text that compresses about as well as code does.
            seed = seed.wrapping_mul(48_271) % 0x7fff_ffff;
            let _ = writeln!(text, "const item{seed} = {{ name: \"item {}\", size: {} }};", seed % 977, seed % 31);
        }
        std::fs::write(folder.join(format!("assets/file{number}.{kind}")), text)?;
    }
    Ok(())
}
