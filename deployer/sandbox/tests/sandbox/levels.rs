//! Which levels are found.

use sandbox::{Level, Options, Sandbox};

use crate::kit::{helper, levels, only};

#[tokio::test]
async fn the_strongest_level_that_works_here_is_found() {
    let found = levels().await;
    let slugs: Vec<_> = found.iter().map(|sandbox| sandbox.level().slug()).collect();
    println!("levels of this host: {slugs:?}");
    for sandbox in found {
        println!("findings at {}: {:#?}", sandbox.level().slug(), sandbox.findings());
    }
    assert_eq!(slugs.last(), Some(&"none"), "watching and limits work everywhere");
    let free = Sandbox::detect(helper(), Options::default()).await;
    assert_eq!(free.level(), found[0].level());
}

#[tokio::test]
async fn why_there_is_nothing_stronger_is_said_for_each_level() {
    let sandbox = only(Level::None, false).await;
    assert_eq!(sandbox.level(), Level::None);
    for level in [Level::Bubblewrap, Level::Namespaces, Level::Landlock] {
        let wanted = format!("{} is switched off by a setting", level.slug());
        assert!(sandbox.findings().contains(&wanted), "{:?}", sandbox.findings());
    }
}

#[tokio::test]
async fn without_any_helper_the_level_is_none_and_the_reasons_are_told() {
    let sandbox = Sandbox::detect("/no/such/helper".into(), Options::default()).await;
    assert_eq!(sandbox.level(), Level::None);
    assert!(sandbox.findings().iter().any(|finding| finding.starts_with("bubblewrap does not work here: ")));
}

#[tokio::test]
async fn root_is_refused_as_the_user_that_commands_run_as() {
    for run_as in [(0, 0), (0, 1), (1, 0)] {
        let sandbox = Sandbox::detect(helper(), Options { run_as: Some(run_as), ..Options::default() }).await;
        let trial = crate::kit::Trial::new(&sandbox);
        let done = trial.sh("id -u; id -g", &[]).await;
        assert!(!done.out.lines().any(|id| id == "0"), "{done:?}");
    }
}
