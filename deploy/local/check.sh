#!/bin/sh
# Names everything that is missing on this machine before a build begins, not one by one.
set -eu
missing=""
command -v cargo >/dev/null || missing="$missing
  - Rust 1.95 or newer: https://rustup.rs"
command -v cc >/dev/null || missing="$missing
  - a C compiler: apt-get install gcc (or your system's package)"
if [ -n "$missing" ]; then
    echo "AstroCloud can't be built here yet. Missing:$missing" >&2
    exit 1
fi
command -v node >/dev/null || echo "Note: there is no Node here. Plain HTML sites deploy all the same; projects that need a build do not." >&2
command -v git >/dev/null || echo "Note: there is no git here. Folders and ZIPs deploy all the same; repositories do not." >&2
