//! The sandbox's launcher as a program of its own, for this crate's tests.

fn main() -> std::process::ExitCode {
    sandbox::helper_main(std::env::args_os().skip(1))
}
