//! Limits: each ends a command that goes beyond it, with its name, and nothing of the command stays.

use std::path::Path;
use std::time::Duration;

use sandbox::{Exit, Level, LimitHit, Sandbox};

use tokio::task::JoinSet;

use crate::kit::{Done, MIB, Trial, has_groups, levels, levels_and_without_groups, line};

/// The shell's fork bomb, which dies of its own success; and the famous one of a shell that tries again and again.
const BOMB: &str = "bomb() { bomb & bomb; }; bomb";
const STUBBORN_BOMB: &str = ":(){ :|:& };:; sleep 1000";

/// Node's: every one starts more of itself.
const NODE_BOMB: &str = r#"
const { spawn } = require("node:child_process");
setInterval(() => spawn(process.execPath, process.execArgv, { stdio: "ignore" }).on("error", () => {}), 10);
"#;

#[tokio::test]
async fn time() {
    for sandbox in levels().await {
        let mut trial = Trial::new(sandbox);
        let limit = Duration::from_millis(300);
        trial.limits.wall = Some(limit);
        let done = trial.sh("trap '' TERM; echo begun; sleep 1000", &[]).await;
        assert_eq!(done.exit, Exit::Limit(LimitHit::WallTime(limit)), "{done:?}");
    }
}

#[tokio::test]
async fn memory_of_one_process() {
    for sandbox in &levels_and_without_groups().await {
        let mut trial = Trial::new(sandbox);
        trial.limits.memory = 128 * MIB;
        let done = trial.node("const all = []; for (;;) all.push(Buffer.alloc(1 << 20, 1));", &[]).await;
        assert_eq!(done.exit, Exit::Limit(LimitHit::Memory(128 * MIB)), "{done:?}");
    }
}

#[tokio::test]
async fn memory_of_all_processes_together() {
    for sandbox in &levels_and_without_groups().await {
        let mut trial = Trial::new(sandbox);
        trial.limits.memory = 100 * MIB;
        // Without a line break, `tail` has to keep all of it.
        let hold = "(head -c 40000000 /dev/zero; sleep 1000) | tail -n 1 & ";
        let done = trial.sh(&format!("{hold}{hold}{hold}{hold} wait"), &[]).await;
        assert_eq!(done.exit, Exit::Limit(LimitHit::Memory(100 * MIB)), "{done:?}");
    }
}

#[tokio::test]
async fn processes_of_a_shells_fork_bomb() {
    for sandbox in &levels_and_without_groups().await {
        let done = fork_bomb(sandbox, ["sh", "-c", BOMB]).await;
        // The kernel of a host without groups does not tell that it has refused a process; the shell does.
        let told = matches!(done.exit, Exit::Code(_)) && done.err.contains("fork") && !has_groups(sandbox);
        assert!(told || done.exit == Exit::Limit(LimitHit::Processes(100)), "{done:?}");
    }
}

#[tokio::test]
async fn processes_of_a_stubborn_shells_fork_bomb() {
    if !Path::new("/bin/bash").exists() {
        println!("not tested: there is no bash here");
        return;
    }
    for sandbox in &levels_and_without_groups().await {
        let done = fork_bomb(sandbox, ["/bin/bash", "-c", STUBBORN_BOMB]).await;
        assert_eq!(done.exit, Exit::Limit(LimitHit::Processes(100)), "{done:?}");
    }
}

#[tokio::test]
async fn processes_of_a_programs_fork_bomb() {
    for sandbox in &levels_and_without_groups().await {
        let done = fork_bomb(sandbox, ["node", "-e", NODE_BOMB]).await;
        assert_eq!(done.exit, Exit::Limit(LimitHit::Processes(100)), "{done:?}");
    }
}

async fn fork_bomb(sandbox: &Sandbox, argv: [&str; 3]) -> Done {
    let mut trial = Trial::new(sandbox);
    trial.limits.processes = 100;
    trial.run(argv).await
}

#[tokio::test]
async fn processes_that_were_refused_are_the_reason_when_a_command_fails_by_them() {
    for sandbox in &levels_and_without_groups().await {
        let mut trial = Trial::new(sandbox);
        trial.limits.processes = 20;
        let script = "i=0; while [ $i -lt 40 ]; do sleep 1000 & i=$((i+1)); done; exit 0";
        let done = trial.sh(script, &[]).await;
        assert_eq!(done.exit, Exit::Limit(LimitHit::Processes(20)), "{done:?}");
    }
}

#[tokio::test]
async fn a_command_with_many_processes_does_not_take_them_from_another() {
    for sandbox in &levels_and_without_groups().await {
        let (mut small, mut large) = (Trial::new(sandbox), Trial::new(sandbox));
        small.limits.processes = 30;
        large.limits.processes = 300;
        // Started first, when there are few of that user's processes.
        let mut running = small.start(
            "echo up; while [ ! -e go ]; do sleep 0.05; done; for i in 1 2 3 4 5 6 7 8 9 10; do sleep 0.1 & done; wait; echo done",
            &[],
        );
        let mut out = running.stdout.take().unwrap();
        assert_eq!(line(&mut out).await, "up");
        let mut many = large.start("i=0; while [ $i -lt 200 ]; do sleep 1000 & i=$((i+1)); done; echo up; wait", &[]);
        assert_eq!(line(&mut many.stdout.take().unwrap()).await, "up");
        std::fs::write(small.outside("work/go"), "").unwrap();
        assert_eq!(line(&mut out).await, "done");
        assert_eq!(running.wait().await, Exit::Code(0), "{}", sandbox.level());
        many.kill();
        assert_eq!(many.wait().await, Exit::Killed);
    }
}

#[tokio::test]
async fn size_of_a_file() {
    for sandbox in levels().await {
        let mut trial = Trial::new(sandbox);
        trial.limits.file_size = 4 * MIB;
        let hit = Exit::Limit(LimitHit::FileSize(4 * MIB));
        for script in [
            "exec head -c 10000000000 /dev/zero > real",
            "head -c 10000000000 /dev/zero > real",
            "exec truncate -s 10G sparse",
            "dd if=/dev/zero of=far bs=1M count=1 seek=10000 2>/dev/null",
            "trap '' XFSZ; head -c 10000000000 /dev/zero > ignored",
        ] {
            let done = trial.sh(script, &[]).await;
            assert_eq!(done.exit, hit, "{script}: {done:?}");
        }
        for entry in std::fs::read_dir(trial.outside("work")).unwrap() {
            assert!(entry.unwrap().metadata().unwrap().len() <= 4 * MIB);
        }
    }
}

#[tokio::test]
async fn disk_over_all_files_together() {
    for sandbox in levels().await {
        let mut trial = Trial::new(sandbox);
        trial.limits.disk = Some(10 * MIB);
        let hit = Exit::Limit(LimitHit::Disk(10 * MIB));
        let endless = "i=0; while :; do head -c 1000000 /dev/zero > file-$i; i=$((i+1)); sleep 0.02; done";
        let done = trial.sh(endless, &[]).await;
        assert_eq!(done.exit, hit, "{done:?}");
        std::fs::remove_dir_all(trial.outside("work")).unwrap();
        std::fs::create_dir(trial.outside("work")).unwrap();
        let hidden = "mkdir a && head -c 11000000 /dev/zero > a/file && chmod 000 a/file a";
        let done = trial.sh(hidden, &[]).await;
        assert_eq!(done.exit, hit, "written and ended before anybody looked: {done:?}");
    }
}

#[tokio::test]
async fn temporary_files_do_not_fill_the_host() {
    for sandbox in levels().await {
        let mut trial = Trial::new(sandbox);
        trial.limits.memory = 64 * MIB;
        trial.limits.file_size = 1 << 30;
        trial.limits.disk = Some(64 * MIB);
        let script = r#"head -c 1000000000 /dev/zero > "${TMPDIR:-/tmp}/big" && sleep 1000"#;
        let done = trial.sh(script, &[]).await;
        assert!(matches!(done.exit, Exit::Limit(_) | Exit::Code(1)), "{done:?}");
    }
}

#[tokio::test]
async fn open_files() {
    for sandbox in levels().await {
        let mut trial = Trial::new(sandbox);
        trial.limits.open_files = 64;
        let script = r#"const fs = require("node:fs"); let n = 0;
            try { for (;;) { fs.openSync("/dev/null"); n++; } } catch (error) { console.log(error.code, n < 64); }"#;
        let done = trial.node(script, &[]).await;
        assert_eq!(done.out, "EMFILE true\n", "{done:?}");
    }
}

#[tokio::test]
async fn core_files_are_not_written() {
    for sandbox in levels().await {
        let trial = Trial::new(sandbox);
        let done = trial.sh("ulimit -c; kill -ABRT $$", &[]).await;
        assert_eq!((done.out.as_str(), &done.exit), ("0\n", &Exit::Signal(6)), "{done:?}");
    }
}

#[tokio::test]
async fn a_command_near_its_limits_is_left_alone() {
    let mut tasks = JoinSet::new();
    for sandbox in &levels_and_without_groups().await {
        let mut trial = Trial::new(sandbox);
        trial.limits.processes = 60;
        trial.limits.disk = Some(20 * MIB);
        trial.limits.file_size = 8 * MIB;
        trial.limits.memory = 200 * MIB;
        // For longer than it takes to look several times.
        let script = "head -c 8388608 /dev/zero > a; head -c 8000000 /dev/zero > b;
            i=0; while [ $i -lt 40 ]; do sleep 1.5 & i=$((i+1)); done; wait;
            exec node -e 'Buffer.alloc(100 << 20, 1)'";
        tasks.spawn(async move { trial.sh(script, &[]).await });
    }
    for done in tasks.join_all().await {
        assert_eq!(done.exit, Exit::Code(0), "{done:?}");
    }
}

#[tokio::test]
async fn many_commands_run_at_once() {
    const AT_ONCE: usize = 12;
    for sandbox in levels().await {
        let mut tasks = JoinSet::new();
        for number in 0..AT_ONCE {
            let mut trial = Trial::new(sandbox);
            trial.limits.processes = 16;
            tasks.spawn(async move {
                let script = "for i in 1 2 3 4 5 6 7 8; do sleep 0.2 & done; wait; echo $1";
                (number, trial.sh(script, &[&number.to_string()]).await)
            });
        }
        for (number, done) in tasks.join_all().await {
            assert_eq!((done.out.as_str(), &done.exit), (&*format!("{number}\n"), &Exit::Code(0)), "{done:?}");
        }
    }
}

#[tokio::test]
async fn what_no_limit_ended_is_not_blamed_on_one() {
    for sandbox in levels().await.iter().filter(|sandbox| sandbox.level() != Level::None) {
        let mut trial = Trial::new(sandbox);
        trial.limits.processes = 10;
        trial.limits.disk = Some(10 * MIB);
        let done = trial.sh("sleep 1000 & sleep 1000 & exit 4", &[]).await;
        assert_eq!(done.exit, Exit::Code(4), "{done:?}");
    }
}
