//! Commands: how they are started, what they are given, how their end is told.

use std::os::unix::fs::PermissionsExt;

use sandbox::{Exit, Mount, NOT_FOUND, NOT_RUNNABLE, SET_UP_FAILED, SpawnError};

use crate::kit::{Trial, levels, remaps, text};

#[tokio::test]
async fn exit_codes_and_signals_are_told_as_they_are() {
    for sandbox in levels().await {
        let trial = Trial::new(sandbox);
        for code in [0, 1, 7, 130, 255] {
            assert_eq!(trial.sh("exit $1", &[&code.to_string()]).await.exit, Exit::Code(code));
        }
        for signal in [6, 9, 11, 15] {
            assert_eq!(trial.sh("kill -$1 $$", &[&signal.to_string()]).await.exit, Exit::Signal(signal));
        }
    }
}

#[tokio::test]
async fn stdout_and_stderr_arrive_to_the_last_byte_and_apart() {
    const BYTES: usize = 3_000_001;
    for sandbox in levels().await {
        let trial = Trial::new(sandbox);
        let script = "head -c $1 /dev/zero | tr '\\0' o & head -c $1 /dev/zero | tr '\\0' e >&2; wait; printf last";
        let done = trial.sh(script, &[&BYTES.to_string()]).await;
        assert_eq!(done.exit, Exit::Code(0));
        assert!(done.out == "o".repeat(BYTES) + "last");
        assert!(done.err == "e".repeat(BYTES));
    }
}

#[tokio::test]
async fn a_command_that_is_to_end_stands_back_for_services() {
    for sandbox in levels().await {
        let done = Trial::new(sandbox).sh("nice", &[]).await;
        assert_eq!((done.out.trim(), done.exit), ("10", Exit::Code(0)));
    }
}

#[tokio::test]
async fn output_can_still_be_read_after_the_end() {
    for sandbox in levels().await {
        let trial = Trial::new(sandbox);
        let mut running = trial.start("echo said; echo complained >&2; exit 3", &[]);
        assert_eq!(running.wait().await, Exit::Code(3));
        assert_eq!(running.wait().await, Exit::Code(3), "the answer stays");
        assert_eq!(text(running.stdout.take()).await, "said\n");
        assert_eq!(text(running.stderr.take()).await, "complained\n");
    }
}

#[tokio::test]
async fn output_files_can_be_opened_by_name() {
    for sandbox in levels().await {
        let done = Trial::new(sandbox).sh("echo said > /dev/stdout; echo complained > /dev/stderr", &[]).await;
        assert_eq!((done.out.as_str(), done.err.as_str()), ("said\n", "complained\n"), "{done:?}");
    }
}

#[tokio::test]
async fn a_missing_program_and_one_that_cannot_run_have_their_codes_and_a_reason() {
    for sandbox in levels().await {
        let trial = Trial::new(sandbox);
        std::fs::write(trial.outside("work/plain"), "no program").unwrap();
        let plain = trial.inside("work/plain");
        for (program, code) in [("no-such-program", NOT_FOUND), ("/no/such", NOT_FOUND), (plain.as_str(), NOT_RUNNABLE)]
        {
            let done = trial.run([program]).await;
            assert_eq!(done.exit, Exit::Code(code), "{done:?}");
            assert!(done.err.starts_with(&format!("sandbox: cannot run {program}: ")), "{done:?}");
        }
    }
}

#[tokio::test]
async fn a_program_is_looked_up_in_the_path_of_its_own_environment() {
    for sandbox in levels().await {
        let trial = Trial::new(sandbox);
        let tool = trial.outside("fixed/some-tool");
        std::fs::write(&tool, "#!/bin/sh\necho \"found as $0\"\n").unwrap();
        std::fs::set_permissions(&tool, PermissionsExt::from_mode(0o755)).unwrap();
        let mut spec = trial.spec(["some-tool"]);
        spec.env = vec![("PATH".into(), format!("{}:/usr/bin:/bin", trial.inside("fixed")))];
        let done = trial.finish(sandbox.spawn(spec).unwrap()).await;
        assert_eq!(done.out, format!("found as {}\n", trial.inside("fixed/some-tool")), "{done:?}");
    }
}

#[tokio::test]
async fn arguments_and_variables_arrive_as_they_were_given() {
    let odd = ["", " two words ", "line\nbreak", "'\"$HOME`\\", "größe ✓", "--", "-e"];
    for sandbox in levels().await {
        let trial = Trial::new(sandbox);
        let mut spec = trial.spec(["node", "-p", "JSON.stringify([process.argv.slice(1), process.env.ODD])", "--"]);
        spec.argv.extend(odd.map(String::from));
        let large = odd.join("=").repeat(1000);
        spec.env.push(("ODD".into(), large.clone()));
        let done = trial.finish(sandbox.spawn(spec).unwrap()).await;
        let (argv, variable): (Vec<String>, String) = serde_json::from_str(&done.out).expect(&done.err);
        assert_eq!(argv, odd);
        assert_eq!(variable, large);
    }
}

#[tokio::test]
async fn the_environment_is_exactly_the_given_one() {
    assert!(std::env::vars_os().any(|(name, _)| name != "PATH"), "the platform of this test has an environment");
    for sandbox in levels().await {
        let trial = Trial::new(sandbox);
        let done = trial.run(["env"]).await;
        let mut names: Vec<_> = done.out.lines().filter_map(|line| line.split('=').next()).collect();
        names.sort_unstable();
        let mut wanted = vec!["PATH", "TRIAL"];
        if !remaps(trial.level()) {
            wanted.extend(["ASTROCLOUD_SANDBOX", "TEMP", "TMP", "TMPDIR"]);
        }
        wanted.sort_unstable();
        assert_eq!(names, wanted, "{done:?}");
    }
}

#[tokio::test]
async fn a_command_starts_in_its_folder_without_input_and_with_no_files_but_its_three() {
    for sandbox in levels().await {
        let trial = Trial::new(sandbox);
        let done = trial.sh("pwd; cat; readlink /proc/self/fd/0", &[]).await;
        assert_eq!(done.out, format!("{}\n/dev/null\n", trial.inside("work")), "{done:?}");
        // The fourth is the listing itself.
        let done = trial.run(["ls", "/proc/self/fd"]).await;
        assert_eq!(done.out.split_whitespace().collect::<Vec<_>>(), ["0", "1", "2", "3"], "{done:?}");
    }
}

#[tokio::test]
async fn a_folder_that_is_not_there_inside_is_a_failed_set_up_with_its_reason() {
    for sandbox in levels().await {
        let trial = Trial::new(sandbox);
        let mut spec = trial.spec(["true"]);
        spec.cwd = "/no/such/folder".into();
        let done = trial.finish(sandbox.spawn(spec).unwrap()).await;
        assert_eq!(done.exit, Exit::Code(SET_UP_FAILED));
        assert!(done.err.starts_with("sandbox: cannot enter /no/such/folder: "), "{done:?}");
    }
}

#[tokio::test]
async fn a_spec_that_makes_no_sense_is_refused_before_anything_starts() {
    for sandbox in levels().await {
        let trial = Trial::new(sandbox);
        let refused = |change: &dyn Fn(&mut sandbox::Spec)| {
            let mut spec = trial.spec(["true"]);
            change(&mut spec);
            sandbox.spawn(spec).unwrap_err()
        };
        assert!(matches!(refused(&|spec| spec.argv.clear()), SpawnError::NoCommand));
        assert!(matches!(refused(&|spec| spec.argv.push("a\0b".into())), SpawnError::Text { .. }));
        assert!(matches!(refused(&|spec| spec.env.push(("A=B".into(), "".into()))), SpawnError::Text { .. }));
        assert!(matches!(refused(&|spec| spec.env.push(("A".into(), "\0".into()))), SpawnError::Text { .. }));
        assert!(matches!(refused(&|spec| spec.cwd = "relative".into()), SpawnError::Target { .. }));
        let mount =
            |source: &str, target: &str| Mount { source: source.into(), target: target.into(), writable: false };
        let missing = refused(&|spec| spec.mounts.push(mount("/no/such/source", "/a")));
        assert!(matches!(missing, SpawnError::Mount { .. }));
        assert!(missing.to_string().contains("/no/such/source"), "{missing}");
        if remaps(trial.level()) {
            assert!(matches!(refused(&|spec| spec.mounts.push(mount("/usr", "/a/../b"))), SpawnError::Target { .. }));
        }
    }
}

#[test]
fn a_command_cannot_be_started_where_nothing_could_watch_it() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let trial = Trial::new(&runtime.block_on(levels())[0]);
    assert!(matches!(trial.sandbox.spawn(trial.spec(["true"])), Err(SpawnError::NoRuntime)));
}
