//! Static sites.

use std::time::Duration;

use common::blob;
use common::manifest::{self, Encoding};
use common::route::{Earlier, Route, Target};
use common::time::Timestamp;

use crate::testkit::{Published, World, field, file, hash, noise, route};

const BROWSER: &str = "text/html,application/xhtml+xml,*/*;q=0.8";

#[tokio::test]
async fn a_file_is_sent_with_all_that_a_browser_needs_to_keep_it() {
    let world = World::start().await;
    let id = world.site("blog", vec![file("/index.html", "<h1>hi</h1>"), file("/app-DkT2a_9x.js", "1")], false).await;
    let page = world.get("blog", "/").send().await.unwrap();
    assert_eq!(page.status(), 200);
    assert_eq!(field(&page, "content-type"), "text/html; charset=utf-8");
    assert_eq!(field(&page, "content-length"), "11");
    assert_eq!(field(&page, "cache-control"), "public, max-age=0, must-revalidate");
    assert_eq!(field(&page, "etag"), format!("\"{}\"", &hash(b"<h1>hi</h1>")[..32]));
    assert_eq!(field(&page, "accept-ranges"), "bytes");
    assert_eq!(field(&page, "x-content-type-options"), "nosniff");
    assert_eq!(field(&page, "server"), "AstroCloud");
    assert_eq!(field(&page, "x-astrocloud-deployment"), id.as_str());
    assert_eq!(field(&page, "vary"), "", "there is one form only");
    assert_eq!(field(&page, "x-robots-tag"), "");
    assert_eq!(page.text().await.unwrap(), "<h1>hi</h1>");

    let script = world.get("blog", "/app-DkT2a_9x.js").send().await.unwrap();
    assert_eq!(field(&script, "cache-control"), "public, max-age=31536000, immutable");
    let head = world.request("HEAD", "blog", "/").send().await.unwrap();
    assert_eq!((head.status().as_u16(), field(&head, "content-length")), (200, "11"));
    assert_eq!(head.bytes().await.unwrap(), "");
}

#[tokio::test]
async fn addresses_of_single_deployments_are_kept_out_of_search_engines() {
    let world = World::start().await;
    let id = world.publish(vec![file("/index.html", "x")], false).await;
    let preview = Route { production: false, ..route("p-1", &id, Target::Static { earlier: Vec::new() }) };
    world.tell(vec![preview]).await;
    for path in ["/", "/missing"] {
        assert_eq!(field(&world.get("p-1", path).send().await.unwrap(), "x-robots-tag"), "noindex");
    }
}

#[tokio::test]
async fn who_has_the_file_is_told_so() {
    let world = World::start().await;
    world.site("blog", vec![file("/a.css", "a{}")], false).await;
    let first = world.get("blog", "/a.css").send().await.unwrap();
    let tag = field(&first, "etag").to_owned();
    for (name, value, status) in [
        ("if-none-match", tag.clone(), 304),
        ("if-none-match", format!("\"x\", W/{tag}"), 304),
        ("if-none-match", "*".to_owned(), 304),
        ("if-none-match", "\"x\"".to_owned(), 200),
        ("if-match", tag.clone(), 200),
        ("if-match", "\"x\"".to_owned(), 412),
    ] {
        for method in ["GET", "HEAD"] {
            let answer = world.request(method, "blog", "/a.css").header(name, &value).send().await.unwrap();
            assert_eq!(answer.status(), status, "{method} {name}: {value}");
            if status == 304 {
                assert_eq!(field(&answer, "etag"), tag);
                assert_eq!(field(&answer, "cache-control"), "public, max-age=0, must-revalidate");
                assert_eq!(field(&answer, "content-length"), "");
            }
        }
    }
}

#[tokio::test]
async fn parts_of_files_are_sent_whether_kept_or_streamed() {
    let world = World::start().await;
    let small = noise(1000);
    let large = noise(3_000_000);
    world.site("blog", vec![file("/small.bin", small.clone()), file("/large.bin", large.clone())], false).await;
    for (path, all) in [("/small.bin", &small), ("/large.bin", &large)] {
        let size = all.len();
        let whole = world.get("blog", path).send().await.unwrap();
        let tag = field(&whole, "etag").to_owned();
        assert_eq!(whole.content_length(), Some(size as u64));
        assert!(whole.bytes().await.unwrap() == all, "{path} arrives as it was published");
        for (range, start, end) in [
            ("bytes=0-0".to_owned(), 0, 1),
            ("bytes=10-19".to_owned(), 10, 20),
            ("bytes=-5".to_owned(), size - 5, size),
            (format!("bytes=1-{}", size * 2), 1, size),
        ] {
            let part = world.get("blog", path).header("range", &range).send().await.unwrap();
            assert_eq!(part.status(), 206, "{range}");
            assert_eq!(field(&part, "content-range"), format!("bytes {start}-{}/{size}", end - 1));
            assert_eq!(field(&part, "content-length"), (end - start).to_string());
            assert_eq!(field(&part, "etag"), tag);
            assert!(part.bytes().await.unwrap() == all[start..end], "{range} of {path}");
        }
        let beyond = world.get("blog", path).header("range", format!("bytes={size}-")).send().await.unwrap();
        assert_eq!((beyond.status().as_u16(), field(&beyond, "content-range")), (416, &*format!("bytes */{size}")));
        for (condition, status) in [(tag.as_str(), 206), ("\"other\"", 200), (&format!("W/{tag}"), 200)] {
            let answer = world
                .get("blog", path)
                .header("range", "bytes=0-1")
                .header("if-range", condition)
                .send()
                .await
                .unwrap();
            assert_eq!(answer.status(), status, "{condition}");
        }
        let head = world.request("HEAD", "blog", path).header("range", "bytes=0-1").send().await.unwrap();
        assert_eq!((head.status().as_u16(), field(&head, "content-length")), (200, &*size.to_string()));
    }
}

#[tokio::test]
async fn the_smallest_form_that_the_visitor_accepts_is_sent() {
    let world = World::start().await;
    let page = Published {
        path: "/index.html",
        bytes: b"the page as it is".to_vec(),
        variants: vec![(Encoding::Br, b"br".to_vec()), (Encoding::Gzip, b"gzip".to_vec())],
    };
    world.site("blog", vec![page], false).await;
    let mut tags = Vec::new();
    for (accept, encoding, body) in [
        ("gzip, deflate, br, zstd", "br", "br"),
        ("gzip", "gzip", "gzip"),
        ("br;q=0, *", "gzip", "gzip"),
        ("zstd", "", "the page as it is"),
        ("identity", "", "the page as it is"),
    ] {
        let answer = world.get("blog", "/").header("accept-encoding", accept).send().await.unwrap();
        assert_eq!(answer.status(), 200);
        assert_eq!(field(&answer, "content-encoding"), encoding, "{accept}");
        assert_eq!(field(&answer, "vary"), "Accept-Encoding");
        assert_eq!(field(&answer, "content-length"), body.len().to_string());
        let tag = field(&answer, "etag").to_owned();
        let again = world.get("blog", "/").header("accept-encoding", accept).header("if-none-match", &tag);
        let again = again.send().await.unwrap();
        assert_eq!((again.status().as_u16(), field(&again, "vary")), (304, "Accept-Encoding"));
        tags.push(tag);
        assert_eq!(answer.text().await.unwrap(), body);
    }
    tags.dedup();
    assert_eq!(tags.len(), 3, "each form has its own tag: {tags:?}");

    let part = world.get("blog", "/").header("accept-encoding", "br").header("range", "bytes=4-7");
    let part = part.send().await.unwrap();
    assert_eq!((part.status().as_u16(), field(&part, "content-encoding")), (206, ""));
    assert_eq!(part.text().await.unwrap(), "page");
    let none = world.get("blog", "/").header("accept-encoding", "identity;q=0, zstd").send().await.unwrap();
    assert_eq!(none.status(), 406);
}

#[tokio::test]
async fn pages_have_one_clean_address_each() {
    let world = World::start().await;
    let files = ["/index.html", "/about.html", "/docs/index.html", "/你好.html"];
    world.site("blog", files.map(|f| file(f, f)).into(), false).await;
    for (path, serves) in [
        ("/", "/index.html"),
        ("/about", "/about.html"),
        ("/about.html", "/about.html"),
        ("/docs/", "/docs/index.html"),
        ("/docs/index.html", "/docs/index.html"),
        ("/%E4%BD%A0%E5%A5%BD", "/你好.html"),
    ] {
        assert_eq!(world.get("blog", path).send().await.unwrap().text().await.unwrap(), serves, "{path}");
    }
    for (path, to) in [
        ("/about/?a=b&c", "/about?a=b&c"),
        ("/docs", "/docs/"),
        ("/docs?x", "/docs/?x"),
        ("//docs//?x=//", "/docs/?x=//"),
    ] {
        let answer = world.get("blog", path).send().await.unwrap();
        assert_eq!((answer.status().as_u16(), field(&answer, "location")), (308, to));
    }
}

#[tokio::test]
async fn paths_that_no_file_can_have_are_refused() {
    let world = World::start().await;
    world.site("blog", vec![file("/index.html", "x")], true).await;
    for path in ["/%", "/%zz", "/%ff", "/%00", "/a%5cb", "/../etc/passwd", "/%2e%2e/etc/passwd", "/a/%2e/b"] {
        let answer =
            world.raw(&format!("GET {path} HTTP/1.1\r\nHost: blog.localhost\r\nConnection: close\r\n\r\n")).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{path}: {answer}");
    }
    let escape = world.raw("GET //evil.example/ HTTP/1.1\r\nHost: blog.localhost\r\nConnection: close\r\n\r\n").await;
    assert!(!escape.to_lowercase().contains("location"), "{escape}");
}

#[tokio::test]
async fn what_is_missing_is_told_with_the_nearest_page_or_in_plain_words() {
    let world = World::start().await;
    let files = vec![file("/index.html", "home"), file("/404.html", "lost"), file("/docs/404.html", "lost docs")];
    world.site("blog", files, false).await;
    for (path, body) in [("/nope", "lost"), ("/a/b/c", "lost"), ("/docs/nope", "lost docs")] {
        let answer = world.get("blog", path).header("accept", BROWSER).send().await.unwrap();
        assert_eq!(answer.status(), 404);
        assert_eq!((field(&answer, "etag"), field(&answer, "accept-ranges")), ("", ""));
        assert_eq!(answer.text().await.unwrap(), body, "{path}");
    }
    let script = world.get("blog", "/nope.js").header("accept", "*/*").send().await.unwrap();
    assert_eq!((script.status().as_u16(), field(&script, "content-type")), (404, "text/plain; charset=utf-8"));
    let range = world.get("blog", "/nope").header("range", "bytes=0-0").header("if-none-match", "*");
    assert_eq!(range.send().await.unwrap().status(), 404);

    world.site("plain", vec![file("/index.html", "home")], false).await;
    let page = world.get("plain", "/nope").header("accept", BROWSER).send().await.unwrap();
    assert_eq!((page.status().as_u16(), field(&page, "content-type")), (404, "text/html; charset=utf-8"));
}

#[tokio::test]
async fn an_app_that_routes_in_the_browser_gets_navigations_and_nothing_else() {
    let world = World::start().await;
    world.site("spa", vec![file("/index.html", "app"), file("/real.html", "real")], true).await;
    for path in ["/dashboard", "/a/b/c?x=y", "/dashboard/", "/v1.2/users"] {
        let answer = world.get("spa", path).header("accept", BROWSER).send().await.unwrap();
        assert_eq!(answer.status(), 200);
        assert_eq!(field(&answer, "cache-control"), "public, max-age=0, must-revalidate");
        assert_eq!(answer.text().await.unwrap(), "app", "{path}");
    }
    assert_eq!(world.get("spa", "/dashboard").send().await.unwrap().status(), 200, "curl is a person");
    assert_eq!(world.get("spa", "/real").send().await.unwrap().text().await.unwrap(), "real");
    let missing = world.get("spa", "/assets/old.js").header("accept", "*/*").send().await.unwrap();
    assert_eq!((missing.status().as_u16(), field(&missing, "content-type")), (404, "text/plain; charset=utf-8"));
    let script = world.get("spa", "/chunk").header("sec-fetch-mode", "no-cors").header("sec-fetch-dest", "script");
    assert_eq!(script.send().await.unwrap().status(), 404);
    let api = world.get("spa", "/api/users").header("accept", "application/json").send().await.unwrap();
    assert_eq!(api.status(), 404);
}

#[tokio::test]
async fn fingerprinted_files_of_earlier_deployments_stay_reachable_for_their_time() {
    let world = World::start().await;
    let old = world
        .publish(
            vec![
                file("/index.html", "old"),
                file("/assets/app-OLDa1b2c.js", "old chunk"),
                file("/about.html", "old page"),
                file("/assets/both-DkT2a_9x.js", "old both"),
            ],
            true,
        )
        .await;
    let older = world.publish(vec![file("/assets/app-GONEa1b2.js", "older chunk")], false).await;
    let removed = common::id::DeploymentId::new();
    let live =
        world.publish(vec![file("/index.html", "new"), file("/assets/both-DkT2a_9x.js", "new both")], true).await;
    let hour = Duration::from_secs(3600);
    let earlier = vec![
        Earlier { deployment: removed, until: Timestamp::now().after(hour) },
        Earlier { deployment: old.clone(), until: Timestamp::now().after(hour) },
        Earlier { deployment: older, until: Timestamp::now().before(hour) },
    ];
    world.tell(vec![route("spa", &live, Target::Static { earlier })]).await;

    let chunk = world.get("spa", "/assets/app-OLDa1b2c.js").send().await.unwrap();
    assert_eq!(chunk.status(), 200);
    assert_eq!(field(&chunk, "x-astrocloud-deployment"), old.as_str());
    assert_eq!(field(&chunk, "cache-control"), "public, max-age=31536000, immutable");
    assert_eq!(chunk.text().await.unwrap(), "old chunk");
    let both = world.get("spa", "/assets/both-DkT2a_9x.js").send().await.unwrap();
    assert_eq!(field(&both, "x-astrocloud-deployment"), live.as_str());
    assert_eq!(both.text().await.unwrap(), "new both");
    assert_eq!(world.get("spa", "/assets/app-GONEa1b2.js").send().await.unwrap().status(), 404, "its time is over");
    let page = world.get("spa", "/about").send().await.unwrap();
    assert_eq!(page.text().await.unwrap(), "new", "a page never comes from an earlier deployment");
}

#[tokio::test]
async fn a_site_is_only_read() {
    let world = World::start().await;
    world.site("blog", vec![file("/index.html", "x")], false).await;
    for method in ["POST", "PUT", "DELETE", "OPTIONS"] {
        let answer = world.request(method, "blog", "/").body("b").send().await.unwrap();
        assert_eq!((answer.status().as_u16(), field(&answer, "allow")), (405, "GET, HEAD"));
    }
}

#[tokio::test]
async fn a_store_that_fails_is_told_and_not_remembered() {
    let world = World::start().await;
    let id = world.site("blog", vec![file("/index.html", "page"), file("/large.bin", noise(2_000_000))], false).await;
    let key = manifest::blob_key(&hash(b"page"), None);
    let bytes = blob::get(&world.store, &key).await.unwrap();
    blob::delete(&world.store, &key).await.unwrap();
    let missing = world.get("blog", "/").send().await.unwrap();
    assert_eq!((missing.status().as_u16(), field(&missing, "retry-after")), (503, "2"));
    assert_eq!(field(&missing, "cache-control"), "no-store");
    assert_eq!(world.request("HEAD", "blog", "/").send().await.unwrap().status(), 200, "HEAD needs no blob");

    blob::put(&world.store, &key, "pa".into()).await.unwrap();
    assert_eq!(world.get("blog", "/").send().await.unwrap().status(), 503, "half a file is none");
    blob::put(&world.store, &manifest::blob_key(&hash(&noise(2_000_000)), None), "short".into()).await.unwrap();
    for range in ["bytes=0-", "bytes=1000000-"] {
        let large = world.get("blog", "/large.bin").header("range", range).send().await.unwrap();
        assert_eq!(large.status(), 503, "{range}");
    }

    blob::put(&world.store, &key, bytes).await.unwrap();
    assert_eq!(world.get("blog", "/").send().await.unwrap().text().await.unwrap(), "page");
    blob::delete(&world.store, &key).await.unwrap();
    blob::delete(&world.store, &manifest::manifest_key(&id)).await.unwrap();
    assert_eq!(world.get("blog", "/").send().await.unwrap().text().await.unwrap(), "page", "it is in memory");
}

#[tokio::test]
async fn an_empty_file_is_sent_as_one() {
    let world = World::start().await;
    world.site("blog", vec![file("/empty.css", "")], false).await;
    let answer = world.get("blog", "/empty.css").header("range", "bytes=-1").send().await.unwrap();
    assert_eq!((answer.status().as_u16(), field(&answer, "content-length")), (200, "0"));
}
