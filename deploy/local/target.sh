#!/bin/sh
# Prints the folder that cargo builds into.
set -eu
cargo metadata --format-version 1 --no-deps --locked | sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p'
