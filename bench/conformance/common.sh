# What the conformance scripts share; they read it in. Makes the folder $work, finds or builds the benchmarks' binary
# $bench, and ends the processes in $pids with the script. File descriptor 3 is for an edge's orders.
# shellcheck shell=bash disable=SC2034
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
work=$(mktemp -d)
bench=${BENCH:-}
if [ -z "$bench" ]; then
    cargo build --release --manifest-path "$here/../../Cargo.toml" -p bench
    bench=${CARGO_TARGET_DIR:-$here/../../target}/release/bench
fi

pids=()
finish() {
    exec 3>&- || true
    for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
    rm -rf "$work"
}
trap finish EXIT

# Waits until a file has so many lines that match, and prints what the pattern's group found in the last of them.
found() {
    for _ in $(seq 200); do
        value=$(sed -nE "s!.*$2.*!\1!p" "$1" | sed -n "${3:-1}p")
        if [ -n "$value" ]; then echo "$value"; return; fi
        sleep 0.1
    done
    echo "nothing in $1:" >&2
    cat "$1" >&2
    exit 1
}
