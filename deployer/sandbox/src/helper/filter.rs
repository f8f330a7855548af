//! The system calls that no build and no server needs, and that attacks on the kernel begin with.

use std::collections::BTreeMap;

use nix::libc;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    TargetArch, apply_filter, sock_filter,
};

use super::{Doing, Problem};

/// Refused as if the right were missing.
const FORBIDDEN: &[i64] = &[
    // Changing what is mounted, and namespaces in which that would be allowed.
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_open_tree,
    libc::SYS_move_mount,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_mount_setattr,
    libc::SYS_unshare,
    libc::SYS_setns,
    // Other processes' memory and files.
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_pidfd_getfd,
    libc::SYS_kcmp,
    // Keys are not in any namespace.
    libc::SYS_keyctl,
    libc::SYS_add_key,
    libc::SYS_request_key,
    // Programs and modules in the kernel.
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_kexec_load,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    // The whole machine.
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_syslog,
    libc::SYS_acct,
    libc::SYS_quotactl,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_clock_adjtime,
    libc::SYS_adjtimex,
    libc::SYS_vhangup,
    libc::SYS_fanotify_init,
    libc::SYS_lookup_dcookie,
    // Files by number, past the mounts.
    libc::SYS_name_to_handle_at,
    libc::SYS_open_by_handle_at,
];

/// Refused as if the kernel did not know them, so that programs use the older way: `clone3` hides its flags from a
/// filter, and io_uring works past it.
const UNKNOWN: &[i64] =
    &[libc::SYS_clone3, libc::SYS_io_uring_setup, libc::SYS_io_uring_enter, libc::SYS_io_uring_register];

/// The only kinds of sockets that can be made: local ones, the internet's, and the one that programs list the network's
/// interfaces with. Others reach past a network of one's own, as to the hypervisor, or into little-used kernel code.
const SOCKETS: [i32; 4] = [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK];

/// The process number -1, in 32 bits.
const EVERYBODY: u64 = 0xffff_ffff;

/// The namespaces that `clone` can make.
const NAMESPACES: i32 = libc::CLONE_NEWUSER
    | libc::CLONE_NEWNS
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWCGROUP;

/// Installs the filters in this process, for good.
pub(super) fn apply() -> Result<(), Problem> {
    let what = || "filter system calls".to_owned();
    for program in programs().doing(what)? {
        apply_filter(&program).doing(what)?;
    }
    Ok(())
}

fn programs() -> seccompiler::Result<[BpfProgram; 2]> {
    let mut forbidden: BTreeMap<i64, Vec<SeccompRule>> = FORBIDDEN.iter().map(|call| (*call, Vec::new())).collect();
    for flag in (0..32).map(|bit| 1_i32.wrapping_shl(bit)).filter(|flag| NAMESPACES & flag != 0) {
        let flag = u64::from(flag.unsigned_abs());
        let makes_one = condition(0, SeccompCmpOp::MaskedEq(flag), flag)?;
        forbidden.entry(libc::SYS_clone).or_default().push(rule(vec![makes_one])?);
    }
    let other = |kind: &i32| condition(0, SeccompCmpOp::Ne, u64::from(kind.unsigned_abs()));
    let none_of_them = SOCKETS.iter().map(other).collect::<Result<_, _>>()?;
    forbidden.insert(libc::SYS_socket, vec![rule(none_of_them)?]);
    // Signals to everybody: without a process namespace, and with one user for all, that is the platform too.
    forbidden.insert(libc::SYS_kill, vec![rule(vec![condition(0, SeccompCmpOp::Eq, EVERYBODY)?])?]);
    // Typing into the terminal of whoever started the platform.
    forbidden.insert(libc::SYS_ioctl, vec![rule(vec![condition(1, SeccompCmpOp::Eq, libc::TIOCSTI)?])?]);
    let unknown = UNKNOWN.iter().map(|call| (*call, Vec::new())).collect();
    Ok([compile(forbidden, libc::EPERM)?, compile(unknown, libc::ENOSYS)?])
}

/// Matches a call when all of the conditions hold.
fn rule(conditions: Vec<SeccompCondition>) -> seccompiler::Result<SeccompRule> {
    SeccompRule::new(conditions).map_err(seccompiler::Error::Backend)
}

fn condition(argument: u8, operator: SeccompCmpOp, value: u64) -> seccompiler::Result<SeccompCondition> {
    SeccompCondition::new(argument, SeccompCmpArgLen::Dword, operator, value).map_err(seccompiler::Error::Backend)
}

fn compile(calls: BTreeMap<i64, Vec<SeccompRule>>, refuse_with: i32) -> seccompiler::Result<BpfProgram> {
    let arch = TargetArch::try_from(std::env::consts::ARCH).map_err(seccompiler::Error::Backend)?;
    let refuse = SeccompAction::Errno(refuse_with.unsigned_abs());
    let filter = SeccompFilter::new(calls, SeccompAction::Allow, refuse, arch).map_err(seccompiler::Error::Backend)?;
    let program = BpfProgram::try_from(filter).map_err(seccompiler::Error::Backend)?;
    Ok(other_numbering().into_iter().chain(program).collect())
}

/// On x86-64, every call has a second number, for 32-bit pointers, that the list would not match: refuse them all.
fn other_numbering() -> Vec<sock_filter> {
    /// Where those numbers begin.
    const X32: u32 = 0x4000_0000;
    /// Load the call's number; jump if it is at least `k`; return the verdict `k`.
    const LOAD: u16 = 0x20;
    const AT_LEAST: u16 = 0x35;
    const RETURN: u16 = 0x06;
    /// `SECCOMP_RET_ERRNO` with `ENOSYS`.
    const NO_SUCH_CALL: u32 = 0x0005_0000 | libc::ENOSYS as u32;
    if std::env::consts::ARCH != "x86_64" {
        return Vec::new();
    }
    let step = |code, jt, jf, k| sock_filter { code, jt, jf, k };
    vec![step(LOAD, 0, 0, 0), step(AT_LEAST, 0, 1, X32), step(RETURN, 0, 0, NO_SUCH_CALL)]
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn the_filters_compile_and_fit_into_the_kernels_limit() {
        const KERNEL_LIMIT: usize = 4096;
        for program in programs().unwrap() {
            assert!(program.len() < KERNEL_LIMIT);
        }
    }
}
