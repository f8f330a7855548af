//! What a command sees of the host, and what it can do to it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use sandbox::{Exit, Level, Mount, SpawnError};

use crate::kit::{Trial, levels, remaps, words};

#[tokio::test]
async fn a_writable_mount_can_be_changed_and_a_read_only_one_cannot() {
    for sandbox in levels().await {
        let trial = Trial::new(sandbox);
        fs::write(trial.outside("work/old"), "old").unwrap();
        fs::create_dir(trial.outside("work/folder")).unwrap();
        let done = trial.sh("echo new > new && rm old && mkdir folder/more && mv new folder/more/moved", &[]).await;
        assert_eq!(done.exit, Exit::Code(0), "{done:?}");
        assert_eq!(fs::read_to_string(trial.outside("work/folder/more/moved")).unwrap(), "new\n");
        assert!(!trial.outside("work/old").exists());

        if trial.level() == Level::None {
            continue;
        }
        let script = r#"cat "$1/file"; for change in "echo x > file" "rm file" "touch more" "chmod 777 file" "ln -s a b"
            do (cd "$1" && eval "$change") 2>/dev/null && echo "done: $change"; done; true"#;
        let fixed = trial.outside("fixed");
        fs::set_permissions(&fixed, PermissionsExt::from_mode(0o777)).unwrap();
        let done = trial.sh(script, &[&trial.inside("fixed")]).await;
        // Landlock has no word about modes; there, the owner protects them, who is another when the platform is root.
        let changes = done.out.trim_start_matches("fixed").replace("done: chmod 777 file\n", "");
        assert_eq!((changes.as_str(), done.exit.success()), ("", true), "{done:?}");
        assert_eq!(fs::read_to_string(fixed.join("file")).unwrap(), "fixed");
        assert_eq!(fs::read_dir(fixed).unwrap().count(), 1);
    }
}

#[tokio::test]
async fn a_mount_below_a_folder_that_is_closed_to_others_is_seen_or_refused_with_the_reason() {
    for sandbox in levels().await {
        let trial = Trial::new(sandbox);
        let closed = trial.outside("closed");
        fs::create_dir_all(closed.join("inner")).unwrap();
        fs::write(closed.join("inner/file"), "within").unwrap();
        for (name, mode) in [("inner/file", 0o644), ("inner", 0o755), ("", 0o700)] {
            fs::set_permissions(closed.join(name), PermissionsExt::from_mode(mode)).unwrap();
        }
        let mut spec = trial.spec(["cat", &trial.inside("closed/inner/file")]);
        spec.mounts.push(Mount { source: closed.join("inner"), target: "/trial/closed/inner".into(), writable: false });
        match sandbox.spawn(spec) {
            Ok(running) => {
                let done = trial.finish(running).await;
                assert_eq!(done.out, "within", "{done:?}");
            }
            Err(SpawnError::Closed { path, .. }) => assert!(!remaps(trial.level()) && path == closed),
            Err(other) => panic!("{other}"),
        }
    }
}

#[tokio::test]
async fn mounts_lie_within_mounts_and_single_files_can_be_mounted() {
    for sandbox in levels().await.iter().filter(|sandbox| remaps(sandbox.level())) {
        let trial = Trial::new(sandbox);
        let mut spec = trial.spec(["sh", "-c", "cat inner/file alone && ! echo x > inner/file && echo x > mine"]);
        fs::create_dir(trial.outside("work/inner")).unwrap();
        fs::write(trial.outside("work/alone"), "").unwrap();
        let mount = |source: &str, target: &str| Mount {
            source: trial.outside(source),
            target: Path::new("/trial/work").join(target),
            writable: false,
        };
        // Given before what they lie in.
        spec.mounts.insert(0, mount("fixed", "inner"));
        spec.mounts.insert(0, mount("fixed/file", "alone"));
        let done = trial.finish(sandbox.spawn(spec).unwrap()).await;
        assert_eq!((done.out.as_str(), &done.exit), ("fixedfixed", &Exit::Code(0)), "{done:?}");
    }
}

#[tokio::test]
async fn the_hosts_files_cannot_be_read_and_its_folders_not_listed() {
    for sandbox in levels().await.iter().filter(|sandbox| sandbox.level() != Level::None) {
        let trial = Trial::new(sandbox);
        let secret = trial.outside("secret");
        assert_eq!(secret.metadata().unwrap().permissions().mode() & 0o004, 0o004, "everybody may read it outside");
        let near = format!("{}/../secret", trial.inside("work"));
        let linked = trial.outside("work/link");
        std::os::unix::fs::symlink(&secret, linked).unwrap();
        let files = [&*secret.to_string_lossy(), &near, "link", "/etc/shadow", "/etc/machine-id", "/proc/1/environ"];
        let done = trial.sh(r#"for file; do cat "$file" && echo "read $file"; done; true"#, &files).await;
        assert_eq!(done.out, "", "{done:?}");
        let parent = secret.parent().unwrap().to_string_lossy();
        let done = trial.sh(r#"for folder; do ls "$folder"; done; true"#, &["/root", "/home", "/var", &parent]).await;
        assert_eq!(done.out, "", "{done:?}");
        // Nor by way of a process outside.
        let root = format!("/proc/{}/root/etc/passwd", std::process::id());
        let done = trial.sh(r#"cat "$1"; cat /proc/$PPID/environ; readlink /proc/$PPID/exe"#, &[&root]).await;
        assert_eq!(done.out, "", "{done:?}");
    }
}

#[tokio::test]
async fn temporary_files_are_private_and_gone_afterwards() {
    for sandbox in levels().await {
        let trial = Trial::new(sandbox);
        let name = format!("left-behind-{}", trial.token());
        let script = r#"folder=${TMPDIR:-/tmp}; ls -A "$folder"; echo x > "$folder/$1" && chmod 000 "$folder/$1" &&
            mkdir -p "$folder/locked/in" && chmod 000 "$folder/locked" && echo "$folder" >&2"#;
        let done = trial.sh(script, &[&name]).await;
        assert_eq!((&done.exit, done.out.as_str()), (&Exit::Code(0), ""), "it begins empty: {done:?}");
        let host = if remaps(trial.level()) { std::env::temp_dir() } else { done.err.trim().into() };
        assert!(!host.join(&name).exists(), "{done:?}");
        if !remaps(trial.level()) {
            assert!(!host.exists(), "{done:?}");
        }
        if trial.level() == Level::Landlock {
            let script = r#"mkdir "$TMPDIR/.." 2>/dev/null; touch "/tmp/$1" && echo written; ls /tmp; true"#;
            assert_eq!(trial.sh(script, &[&name]).await.out, "");
        }
    }
}

#[tokio::test]
async fn devices_are_the_harmless_ones_and_work() {
    for sandbox in levels().await {
        let trial = Trial::new(sandbox);
        let script = "echo x > /dev/null && head -c 4 /dev/urandom | wc -c && head -c 3 /dev/zero | wc -c";
        let done = trial.sh(script, &[]).await;
        assert_eq!((done.out.as_str(), &done.exit), ("4\n3\n", &Exit::Code(0)), "{done:?}");
        if trial.level() != Level::None {
            let done =
                trial.sh("find /dev -type b -exec head -c1 {} ';' ; head -c1 /dev/mem /dev/kmsg; true", &[]).await;
            assert_eq!(done.out, "", "{done:?}");
        }
    }
}

#[tokio::test]
async fn the_systems_own_files_cannot_be_changed() {
    for sandbox in levels().await.iter().filter(|sandbox| sandbox.level() != Level::None) {
        let trial = Trial::new(sandbox);
        let script = "for folder in / /usr /usr/bin /etc /dev /dev/pts /proc /proc/sys/kernel; do
            touch $folder/made 2>/dev/null && echo $folder; done; true";
        assert_eq!(trial.sh(script, &[]).await.out, "", "{}", trial.level());
    }
}

#[tokio::test]
async fn processes_outside_are_neither_seen_nor_reached() {
    for sandbox in levels().await.iter().filter(|sandbox| sandbox.level() != Level::None) {
        let trial = Trial::new(sandbox);
        let mut other = trial.start("exec sleep 1000", &[]);
        trial.until_processes(true).await;
        if remaps(trial.level()) {
            let outside = [std::process::id(), other.pid()].map(|pid| pid.to_string());
            let script = "for pid; do kill -0 $pid 2>/dev/null && echo $pid; done; true";
            let done = Trial::new(sandbox).sh(script, &outside.each_ref().map(String::as_str)).await;
            assert_eq!((done.out.as_str(), &done.exit), ("", &Exit::Code(0)), "{done:?}");
            // Our own first process, the shell, and what it starts.
            let done = Trial::new(sandbox).sh("ls /proc | grep -c '^[0-9]'", &[]).await;
            assert!(done.out.trim().parse::<u32>().unwrap() <= 4, "{done:?}");
        }
        // What another sandbox of the same user was given is not to be read.
        let done =
            Trial::new(sandbox).sh("cat /proc/[0-9]*/environ 2>/dev/null | grep -c $1; true", &[trial.token()]).await;
        assert_eq!(done.out, "0\n", "{done:?}");
        other.kill();
        assert_eq!(other.wait().await, Exit::Killed, "it was alive until now");
    }
}

#[tokio::test]
async fn a_signal_to_everybody_is_refused() {
    for sandbox in levels().await {
        let done = Trial::new(sandbox).sh("kill -0 -1 || echo refused", &[]).await;
        assert_eq!(done.out, "refused\n", "{done:?}");
    }
}

#[tokio::test]
async fn no_rights_can_be_gained() {
    for sandbox in levels().await {
        let trial = Trial::new(sandbox);
        let script = "grep -E '^(NoNewPrivs|Seccomp|CapEff|CapPrm|CapInh|CapAmb):' /proc/self/status";
        let done = trial.sh(script, &[]).await;
        let zeros = "0000000000000000";
        let wanted = ["CapAmb:", "CapEff:", "CapInh:", "CapPrm:", "NoNewPrivs:", "Seccomp:", "1", "2", zeros];
        assert_eq!(words(&done.out), wanted.into(), "{done:?}");
        let script = "unshare -U true || unshare -r true || mount -t tmpfs none /tmp || chroot / true || echo refused";
        assert_eq!(trial.sh(script, &[]).await.out, "refused\n");
    }
}

#[tokio::test]
async fn a_program_that_makes_its_user_root_does_not() {
    if !nix::unistd::geteuid().is_root() {
        println!("not tested: only root can make such a program");
        return;
    }
    for sandbox in levels().await {
        let trial = Trial::new(sandbox);
        let program = trial.outside("fixed/id");
        fs::copy("/usr/bin/id", &program).unwrap();
        fs::set_permissions(&program, PermissionsExt::from_mode(0o6755)).unwrap();
        let outside = Command::new("setpriv").args(["--reuid=65534"]).arg(&program).arg("-u").output();
        if let Ok(outside) = outside {
            assert_eq!(String::from_utf8_lossy(&outside.stdout), "0\n", "it works outside");
        }
        let done = trial.run([trial.inside("fixed/id"), "-u".into()]).await;
        assert_eq!(done.exit, Exit::Code(0), "{done:?}");
        assert_ne!(done.out, "0\n", "{done:?}");
    }
}

#[tokio::test]
async fn dangerous_sockets_cannot_be_made() {
    // Packets of all, the machine's own hypervisor: neither is kept apart by a network of one's own.
    for sandbox in levels().await {
        let trial = Trial::new(sandbox);
        let script = r#"use Socket; for (@ARGV) { socket(my $s, $_, SOCK_STREAM, 0) and print "$_ " }"#;
        let done = trial.run(["perl", "-e", script, "1", "2", "40", "38", "16", "17"]).await;
        assert_eq!(done.out, "1 2 ", "{done:?}");
    }
}
