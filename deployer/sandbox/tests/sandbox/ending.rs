//! Ends: however a command ends, every process of its sandbox ends with it.

use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

use sandbox::{Exit, Level};
use tokio::io::AsyncReadExt;

use crate::kit::{TOKEN, Trial, levels, line, only, processes_with, text, until};

/// Says that it is up and stays, with children of every kind: plain, in a session of its own, and left by its parent.
const FAMILY: &str = "trap '' TERM HUP INT; sleep 1000 & setsid sleep 1000 & (setsid nohup sh -c 'sleep 1000 & sleep 1000' >/dev/null 2>&1 &)
    env -i TRIAL=$TRIAL setsid sleep 1000 & sleep 0.1; echo up; wait; sleep 1000";

#[tokio::test]
async fn killing_ends_every_process() {
    for sandbox in levels().await {
        let trial = Trial::new(sandbox);
        let mut running = trial.start(FAMILY, &[]);
        assert_eq!(line(running.stdout.as_mut().unwrap()).await, "up");
        assert!(trial.processes().len() >= 5, "{:?}", trial.processes());
        running.kill();
        running.kill();
        assert_eq!(trial.finish(running).await.exit, Exit::Killed);
    }
}

#[tokio::test]
async fn killing_from_elsewhere_works_while_somebody_waits() {
    for sandbox in levels().await {
        let trial = Trial::new(sandbox);
        let mut running = trial.start(FAMILY, &[]);
        assert_eq!(line(running.stdout.as_mut().unwrap()).await, "up");
        let killer = running.killer();
        let (done, ()) = tokio::join!(trial.finish(running), async { killer.kill() });
        assert_eq!(done.exit, Exit::Killed);
        killer.kill();
        killer.terminate();
    }
}

#[tokio::test]
async fn killing_before_the_command_has_started_works() {
    for sandbox in levels().await {
        let trial = Trial::new(sandbox);
        let running = trial.start("sleep 1000", &[]);
        running.kill();
        assert_eq!(trial.finish(running).await.exit, Exit::Killed);
    }
}

#[tokio::test]
async fn dropping_the_handle_ends_every_process() {
    for sandbox in levels().await {
        let trial = Trial::new(sandbox);
        let mut running = trial.start(FAMILY, &[]);
        assert_eq!(line(running.stdout.as_mut().unwrap()).await, "up");
        drop(running);
        trial.until_processes(false).await;
    }
}

#[test]
fn shutting_the_runtime_down_ends_every_process() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let others = tokio::runtime::Runtime::new().unwrap();
    for sandbox in others.block_on(levels()) {
        let trial = Trial::new(sandbox);
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let running = runtime.block_on(async {
            let mut running = trial.start(FAMILY, &[]);
            assert_eq!(line(running.stdout.as_mut().unwrap()).await, "up");
            running
        });
        runtime.shutdown_background();
        others.block_on(trial.until_processes(false));
        drop(running);
    }
    drop(runtime);
}

#[tokio::test]
async fn terminating_lets_a_command_end_in_its_own_way() {
    for sandbox in levels().await {
        let trial = Trial::new(sandbox);
        // A shell runs its trap only when its child has ended: the signal has to reach both.
        let script = "trap 'echo bye; exit 0' TERM; sh -c 'echo up; exec sleep 1000'; exit 1";
        let mut running = trial.start(script, &[]);
        assert_eq!(line(running.stdout.as_mut().unwrap()).await, "up");
        running.terminate();
        let done = trial.finish(running).await;
        assert_eq!((done.out.as_str(), &done.exit), ("bye\n", &Exit::Code(0)), "{done:?}");

        let running = trial.start("exec sleep 1000", &[]);
        running.terminate();
        assert_eq!(trial.finish(running).await.exit, Exit::Signal(15), "also before the start");
    }
}

#[tokio::test]
async fn a_command_that_does_not_want_to_end_can_be_terminated_and_then_killed() {
    for sandbox in levels().await {
        let trial = Trial::new(sandbox);
        let mut running = trial.start(r#"trap 'echo no' TERM; echo up; while :; do sleep 0.05; done"#, &[]);
        let mut out = running.stdout.take().unwrap();
        assert_eq!(line(&mut out).await, "up");
        for _ in 0..3 {
            running.terminate();
            assert_eq!(line(&mut out).await, "no");
        }
        running.kill();
        assert_eq!(running.wait().await, Exit::Killed);
    }
}

#[tokio::test]
async fn what_a_command_leaves_in_the_background_is_killed_when_it_ends() {
    for sandbox in levels().await {
        let trial = Trial::new(sandbox);
        let family = FAMILY.replace("wait; sleep 1000", "exit 5");
        let done = trial.sh(&family, &[]).await;
        // The output ended although somebody in the background had it open.
        assert_eq!((done.out.as_str(), &done.exit), ("up\n", &Exit::Code(5)), "{done:?}");
    }
}

#[tokio::test]
async fn endless_output_that_nobody_reads_does_not_keep_a_command_from_being_killed() {
    for sandbox in levels().await {
        let trial = Trial::new(sandbox);
        let mut running = trial.start("yes & yes >&2", &[]);
        let mut byte = [0; 1];
        running.stdout.as_mut().unwrap().read_exact(&mut byte).await.unwrap();
        running.kill();
        assert_eq!(running.wait().await, Exit::Killed);
        assert_eq!(trial.processes(), [""; 0]);
    }
}

#[tokio::test]
async fn closing_its_output_ends_a_command_that_writes_on() {
    for sandbox in levels().await {
        let trial = Trial::new(sandbox);
        let mut running = trial.start("exec yes", &[]);
        drop(running.stdout.take());
        let exit = running.wait().await;
        assert_eq!(exit, Exit::Signal(13), "SIGPIPE works as everywhere: {}", text(running.stderr.take()).await);
    }
}

#[tokio::test]
async fn a_command_cannot_end_the_sandbox_around_it_in_another_way_than_by_its_own_end() {
    for sandbox in levels().await.iter().filter(|sandbox| sandbox.level() != Level::None) {
        let trial = Trial::new(sandbox);
        let done = trial.sh("kill -9 $PPID; kill -STOP $PPID; echo code 0 0 > /proc/$PPID/fd/0; exit 6", &[]).await;
        assert_eq!(done.exit, Exit::Code(6), "{done:?}");
    }
}

/// The level that the platform of the next test runs a command at; only set there.
const PLATFORM_LEVEL: &str = "SANDBOX_TEST_PLATFORM_LEVEL";

#[tokio::test]
async fn when_the_platform_is_killed_its_commands_vanish() {
    for sandbox in levels().await {
        let level = sandbox.level();
        // All that a killed platform leaves behind.
        let folder = tempfile::tempdir().unwrap();
        std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).unwrap();
        let mut platform = tokio::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "ending::the_platform_that_is_killed", "--ignored", "--nocapture"])
            .env(PLATFORM_LEVEL, level.slug())
            .env("TMPDIR", folder.path())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut out = platform.stdout.take().unwrap();
        let token = loop {
            let line = line(&mut out).await;
            if let Some((_, token)) = line.split_once("the token is ") {
                break token.to_owned();
            }
        };
        assert!(processes_with(&token).len() >= 5, "{:?}", processes_with(&token));
        platform.start_kill().unwrap();
        platform.wait().await.unwrap();
        until("the commands to vanish", || processes_with(&token).is_empty()).await;
    }
}

#[tokio::test]
#[ignore = "not a test, but the platform that the test above kills"]
async fn the_platform_that_is_killed() {
    let Ok(slug) = std::env::var(PLATFORM_LEVEL) else { return };
    let level = Level::ALL.into_iter().find(|level| level.slug() == slug).unwrap();
    let trial = Trial::new(&only(level, false).await);
    let mut running = trial.start(FAMILY, &[]);
    assert_eq!(line(running.stdout.as_mut().unwrap()).await, "up");
    println!("the token is {}", trial.token());
    running.wait().await;
}

#[tokio::test]
async fn nothing_of_a_sandbox_stays_on_the_host() {
    let own = format!("astrocloud-sandbox-{}-", std::process::id());
    for sandbox in levels().await {
        let trial = Trial::new(sandbox);
        let mut spec = trial.spec(["sh", "-c", "echo $TMPDIR"]);
        spec.env.push((TOKEN.into(), trial.token().into()));
        let done = trial.finish(sandbox.spawn(spec).unwrap()).await;
        assert_eq!(done.exit, Exit::Code(0));
        if !done.out.trim().is_empty() {
            assert!(done.out.contains(&own), "{done:?}");
            assert!(!std::path::Path::new(done.out.trim()).exists());
        }
    }
}
