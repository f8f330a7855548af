//! One address per page: the table of the guide to trailing slashes (github.com/slorber/trailing-slash-guide), row by
//! row, for each mode. Its site has `file.html`, `folder/index.html`, and `both.html` beside `both/index.html`.

use std::sync::Arc;

use common::policy::{Policy, TrailingSlash};
use common::route::{Route, Target};

use crate::testkit::{World, field, file, route};

const FILES: [&str; 6] =
    ["/index.html", "/file.html", "/folder/index.html", "/both.html", "/both/index.html", "/style.css"];

/// The guide's columns.
const ADDRESSES: [&str; 10] = [
    "/file",
    "/file/",
    "/file.html",
    "/folder",
    "/folder/",
    "/folder/index.html",
    "/both",
    "/both/",
    "/both.html",
    "/both/index.html",
];

async fn world(mode: TrailingSlash) -> World {
    let world = World::start().await;
    let id = world.publish(FILES.map(|f| file(f, f)).into(), false).await;
    let policy = Arc::new(Policy { trailing_slash: mode, ..Policy::default() });
    world.tell(vec![Route { policy, ..route("site", &id, Target::Static { earlier: Vec::new() }) }]).await;
    world
}

/// What an address answers: the file, `> ` and where it redirects to, or the status.
async fn told(world: &World, path: &str) -> String {
    let answer = world.get("site", path).send().await.unwrap();
    match answer.status().as_u16() {
        200 => answer.text().await.unwrap(),
        308 => format!("> {}", field(&answer, "location")),
        status => status.to_string(),
    }
}

async fn row(mode: TrailingSlash) -> [String; 10] {
    let world = world(mode).await;
    let mut row = ADDRESSES.map(str::to_owned);
    for cell in &mut row {
        *cell = told(&world, cell).await;
    }
    row
}

#[tokio::test]
async fn by_default_a_page_is_where_its_file_lies() {
    // As Cloudflare Pages has it, but that names of files answer too.
    assert_eq!(
        row(TrailingSlash::Auto).await,
        [
            "/file.html",
            "> /file",
            "/file.html",
            "> /folder/",
            "/folder/index.html",
            "/folder/index.html",
            "/both.html",
            "/both/index.html",
            "/both.html",
            "/both/index.html",
        ]
    );
}

#[tokio::test]
async fn with_always_every_page_ends_with_a_slash() {
    // As Vercel has it with cleanUrls and trailingSlash, but that `/both.html`, which is another page than `/both/`,
    // stays within reach.
    assert_eq!(
        row(TrailingSlash::Always).await,
        [
            "> /file/",
            "/file.html",
            "> /file/",
            "> /folder/",
            "/folder/index.html",
            "> /folder/",
            "> /both/",
            "/both/index.html",
            "/both.html",
            "> /both/",
        ]
    );
}

#[tokio::test]
async fn with_never_no_page_ends_with_a_slash() {
    // As Vercel has it with cleanUrls and without trailingSlash, but that `/both/index.html`, which is another page than
    // `/both`, stays within reach.
    assert_eq!(
        row(TrailingSlash::Never).await,
        [
            "/file.html",
            "> /file",
            "> /file",
            "/folder/index.html",
            "> /folder",
            "> /folder",
            "/both.html",
            "> /both",
            "> /both",
            "/both/index.html",
        ]
    );
}

#[tokio::test]
async fn with_ignore_every_spelling_answers() {
    // As Netlify has it without pretty URLs, and Render.
    assert_eq!(
        row(TrailingSlash::Ignore).await,
        [
            "/file.html",
            "/file.html",
            "/file.html",
            "/folder/index.html",
            "/folder/index.html",
            "/folder/index.html",
            "/both.html",
            "/both/index.html",
            "/both.html",
            "/both/index.html",
        ]
    );
}

#[tokio::test]
async fn the_root_and_files_that_are_no_pages_are_the_same_in_every_mode() {
    for mode in [TrailingSlash::Auto, TrailingSlash::Always, TrailingSlash::Never, TrailingSlash::Ignore] {
        let world = world(mode).await;
        assert_eq!(told(&world, "/").await, "/index.html", "{mode:?}");
        assert_eq!(told(&world, "/style.css").await, "/style.css", "{mode:?}");
        assert_eq!(told(&world, "/missing").await, "404", "{mode:?}");
        assert_eq!(told(&world, "/missing/").await, "404", "{mode:?}");
        let names_index = match mode {
            TrailingSlash::Auto | TrailingSlash::Ignore => "/index.html",
            TrailingSlash::Always | TrailingSlash::Never => "> /",
        };
        assert_eq!(told(&world, "/index.html").await, names_index, "{mode:?}");
        assert_eq!(told(&world, "/index").await, names_index, "{mode:?}");
    }
}

#[tokio::test]
async fn a_redirect_for_a_slash_keeps_the_query() {
    let world = world(TrailingSlash::Always).await;
    assert_eq!(told(&world, "/file?a=b&c").await, "> /file/?a=b&c");
    assert_eq!(told(&world, "/folder/index.html?a").await, "> /folder/?a");
}
