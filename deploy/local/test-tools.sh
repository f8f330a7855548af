#!/bin/sh
# Installs what the tests need beyond Rust and Node, from the ordinary package registries. Does nothing when all is there.
set -eu

# One line each: a program that tells whether the package is there, and the package.
packages=""
need() {
    command -v "$1" >/dev/null || packages="$packages $2"
}
need cc gcc
need c++ g++
need cmake cmake
need python3 python3
need pgrep procps
need bwrap bubblewrap
need slirp4netns slirp4netns
need git git
need chromium chromium
need curl curl
need openssl openssl
need shellcheck shellcheck
# Peers of the DNS server: dig and delv, named-checkzone and dnssec-dsfromkey, kdig, a secondary.
need dig bind9-dnsutils
need named-checkzone bind9-utils
need kdig knot-dnsutils
need nsd nsd
need named bind9
need pebble pebble
need certutil libnss3-tools
need redis-server redis-server
# What builds the Kubernetes of the tests (kubernetes.sh, below).
need go golang-go
need dpkg-source dpkg-dev
# A registry, and what reads and runs its images besides us.
need docker-registry docker-registry
need skopeo skopeo
need umoci umoci
need runc runc
need busybox busybox-static
need npm npm
# Debian keeps its programs out of the search path.
[ -d /usr/lib/postgresql ] || packages="$packages postgresql"

if [ -n "$packages" ]; then
    sudo=""
    if [ "$(id -u)" != 0 ]; then
        sudo -n true 2>/dev/null || {
            echo "The tests need these packages, and this user may not install them:$packages" >&2
            exit 1
        }
        sudo="sudo -n"
    fi
    echo "Installing:$packages"
    $sudo apt-get update -q >/dev/null
    # shellcheck disable=SC2086
    $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends $packages >/dev/null
fi

# Azure's storage on this machine. The version is asked for because npm takes an older one for older Nodes.
AZURITE=3.37.0
azurite="${XDG_CACHE_HOME:-$HOME/.cache}/astrocloud/azurite-$AZURITE"
if [ ! -x "$azurite/node_modules/.bin/azurite-blob" ]; then
    echo "Installing Azurite $AZURITE."
    mkdir -p "$azurite"
    npm install --prefix "$azurite" --no-audit --no-fund --loglevel=error "azurite@$AZURITE" >/dev/null
fi

# Rust tools, at known versions.
tool() {
    if ! cargo "$2" --version 2>/dev/null | grep -qF "$3"; then
        echo "Installing $1 $3 (a few minutes, once)."
        # A build folder of its own: the workspace's is for the workspace.
        CARGO_TARGET_DIR="${XDG_CACHE_HOME:-$HOME/.cache}/astrocloud/tools" cargo install -q --locked "$1" --version "$3"
    fi
}
tool cargo-deny deny "$CARGO_DENY"
tool cargo-machete machete "$CARGO_MACHETE"

# A Kafka broker, which its authors publish as a library only: built here, once for each version.
broker="${XDG_CACHE_HOME:-$HOME/.cache}/astrocloud/tansu"
if [ "$(cat "$broker/version" 2>/dev/null)" != "$TANSU" ]; then
    echo "Building the Kafka broker of the tests, Tansu $TANSU (some minutes, once)."
    CARGO_TARGET_DIR="$broker/build" cargo install -q --locked --path deploy/local/tansu --root "$broker" --force
    rm -rf "$broker/build"
    echo "$TANSU" >"$broker/version"
fi

# A Kubernetes control plane, built once.
"$(dirname "$0")/kubernetes.sh" >/dev/null
