//! Archives that must be refused, and say why.

use std::path::PathBuf;

use crate::support::{Platform, run};

/// Makes archives with Python's zipfile, which lets one write what no honest tool would.
const MAKE: &str = r#"
import sys, zipfile
def make(name, fill, **options):
    with zipfile.ZipFile(sys.argv[1] + "/" + name, "w", zipfile.ZIP_DEFLATED, **options) as z:
        fill(z)
make("slip.zip", lambda z: (z.writestr("index.html", "x"), z.writestr("../../outside.txt", "x")))
make("absolute.zip", lambda z: z.writestr("/etc/cron.d/x", "x"))
make("many.zip", lambda z: [z.writestr(f"f{n}.txt", "") for n in range(100_000)])
make("bomb.zip", lambda z: [z.writestr(f"zeros{n}", b"\0" * 400_000_000) for n in range(8)])
make("cases.zip", lambda z: (z.writestr("index.html", "x"), z.writestr("Index.html", "y")))
make("whole.zip", lambda z: z.writestr("index.html", "x" * 10_000))
data = open(sys.argv[1] + "/whole.zip", "rb").read()
open(sys.argv[1] + "/truncated.zip", "wb").write(data[: len(data) // 2])
locked = bytearray(data)
locked[6] |= 1
locked[data.rindex(b"PK\x01\x02") + 8] |= 1
open(sys.argv[1] + "/encrypted.zip", "wb").write(locked)
"#;

#[tokio::test]
async fn archives_that_would_do_harm_are_refused_with_the_reason() {
    let platform = Platform::start().await;
    let work = tempfile::tempdir().unwrap();
    run(work.path(), "python3", &["-c", MAKE, work.path().to_str().unwrap()]).await;
    let at = |name: &str| -> PathBuf { work.path().join(name) };
    for (name, said) in [
        ("slip.zip", "outside.txt"),
        ("absolute.zip", "/etc/cron.d/x"),
        ("many.zip", "100"),
        ("bomb.zip", "GiB"),
        ("cases.zip", "Index.html"),
        ("truncated.zip", "too early"),
        ("encrypted.zip", "encrypted"),
    ] {
        let (outcome, json) = platform.deploy(&at(name), "harm", &[]).await;
        assert_eq!(outcome.code, Some(1), "{name}: {json}");
        let reason = json["reason"].as_str().unwrap();
        assert!(reason.contains(said), "{name}: {reason}");
    }
    platform.deploy_live(&at("whole.zip"), "harm", &[]).await;
}
