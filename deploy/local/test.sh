#!/bin/sh
# Everything that must hold before a change lands: format, lint, dependency rules, and every test.
set -eu
cd "$(dirname "$0")/../.."
export CARGO_DENY=0.20.2 CARGO_MACHETE=0.9.2 TANSU=0.6.0

step() {
    printf '\n== %s\n' "$1"
}

step "Tools"
deploy/local/test-tools.sh
deploy/local/check.sh
step "Format"
cargo fmt --all --check
step "Shell scripts"
shellcheck deploy/local/*.sh .ci/run
step "Lint"
cargo clippy --workspace --all-targets --locked -- -D warnings
step "Dependencies"
# Advisories need a database from outside; the scheduled workflow of the project's host checks them.
cargo deny --locked check bans licenses sources
cargo machete
step "Tests"
cargo test --workspace --locked
step "Tests of the control plane on Postgres"
TEST_ENGINE=postgres cargo test -p control-plane --test control_plane --locked
