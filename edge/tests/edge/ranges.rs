//! Several parts of a file in one answer.

use crate::testkit::{World, field, file, noise};

#[tokio::test]
async fn several_ranges_are_sent_as_parts_each_with_its_place() {
    let world = World::start().await;
    let (small, large) = (noise(1000), noise(3_000_000));
    world.site("blog", vec![file("/small.bin", small.clone()), file("/large.bin", large.clone())], false).await;
    for (path, all) in [("/small.bin", &small), ("/large.bin", &large)] {
        let size = all.len();
        let answer = world.get("blog", path).header("range", "bytes=0-9, 500-509, -7").send().await.unwrap();
        assert_eq!(answer.status(), 206);
        assert_eq!(field(&answer, "content-range"), "", "each part has its own");
        assert_eq!(field(&answer, "accept-ranges"), "bytes");
        let boundary = field(&answer, "content-type").strip_prefix("multipart/byteranges; boundary=").unwrap();
        let delimiter = format!("\r\n--{boundary}");
        let length: usize = field(&answer, "content-length").parse().unwrap();
        let mut expected = Vec::new();
        for (start, end) in [(0, 10), (500, 510), (size - 7, size)] {
            let head = format!(
                "{delimiter}\r\nContent-Type: application/octet-stream\r\nContent-Range: bytes {start}-{}/{size}\r\n\r\n",
                end - 1
            );
            expected.extend_from_slice(head.as_bytes());
            expected.extend_from_slice(&all[start..end]);
        }
        expected.extend_from_slice(format!("{delimiter}--\r\n").as_bytes());
        let body = answer.bytes().await.unwrap();
        assert_eq!(body.len(), length, "{path}");
        assert!(body == expected, "{path}");
    }
}

#[tokio::test]
async fn ranges_that_meet_are_one_and_too_many_are_the_whole_file() {
    let world = World::start().await;
    world.site("blog", vec![file("/a.bin", noise(1000))], false).await;
    let many = format!("bytes={}", (0..17).map(|i| format!("{0}-{0}", i * 50)).collect::<Vec<_>>().join(","));
    for (range, status, content_range) in [
        ("bytes=0-9,5-19", 206, "bytes 0-19/1000"),
        ("bytes=0-9,2000-", 206, "bytes 0-9/1000"),
        ("bytes=2000-,3000-", 416, "bytes */1000"),
        ("bytes=0-9,nonsense", 200, ""),
        (&many, 200, ""),
    ] {
        let answer = world.get("blog", "/a.bin").header("range", range).send().await.unwrap();
        assert_eq!((answer.status().as_u16(), field(&answer, "content-range")), (status, content_range), "{range}");
    }
    let stale = world.get("blog", "/a.bin").header("range", "bytes=0-1,500-501").header("if-range", "\"old\"");
    assert_eq!(stale.send().await.unwrap().status(), 200);
}
