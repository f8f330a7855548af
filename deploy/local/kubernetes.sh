#!/bin/sh
# Builds a Kubernetes control plane for the tests out of Debian's source package, and puts etcd beside it. Prints the
# folder. Does nothing when that is there; else it takes some minutes. Only the kubelet is left for a test to play.
set -eu

# Kubernetes of Debian 12, the one release of the API server that an ordinary package registry has.
KUBERNETES=1.20.5+really1.20.2-1.1+deb12u1
SUITE=bookworm
MIRROR=http://deb.debian.org/debian

cache="${XDG_CACHE_HOME:-$HOME/.cache}/astrocloud"
folder="$cache/kubernetes-$KUBERNETES"
is_built() {
    for program in kube-apiserver kube-controller-manager etcd; do
        [ -x "$folder/$program" ] || return 1
    done
}
if is_built; then
    echo "$folder"
    exit 0
fi
mkdir -p "$cache"
# Test runs that begin together build it once.
exec 9>"$cache/kubernetes.lock"
flock 9
if is_built; then
    echo "$folder"
    exit 0
fi
command -v go >/dev/null || {
    echo "Go is missing: install golang-go (deploy/local/test-tools.sh does it) and try again." >&2
    exit 1
}
echo "Building Kubernetes $KUBERNETES for the tests (some minutes, once)." >&2

work="$cache/kubernetes-build"
rm -rf "$work"
mkdir -p "$work/lists/partial" "$work/archives/partial" "$work/etc"
trap 'chmod -R u+w "$work" && rm -rf "$work"' EXIT
cd "$work"

# Package lists of this script's own: the system's may have no sources, and stay as they are.
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
cat >etc/sources.list <<SOURCES
deb [signed-by=$keyring] $MIRROR $SUITE main
deb-src [signed-by=$keyring] $MIRROR $SUITE main
SOURCES
apt="apt-get -q -o Dir::Etc::sourcelist=$work/etc/sources.list -o Dir::Etc::sourceparts=- \
    -o Dir::State::lists=$work/lists -o Dir::Cache::archives=$work/archives \
    -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache= -o APT::Sandbox::User="
{
    $apt update
    $apt source --download-only "kubernetes=$KUBERNETES"
    $apt download etcd-server golang-github-modern-go-reflect2-dev
    dpkg-source --no-check -x kubernetes_*.dsc source
    for package in ./*.deb; do
        dpkg-deb -x "$package" packages
    done
} >log 2>&1 || {
    cat log >&2
    exit 1
}

# The release's reflect2 1.0.1 breaks on the map iteration of newer Go; 1.0.2 does not.
rm -rf source/vendor/github.com/modern-go/reflect2
cp -r packages/usr/share/gocode/src/github.com/modern-go/reflect2 source/vendor/github.com/modern-go/reflect2

mkdir -p go/src/k8s.io out
ln -s "$work/source" go/src/k8s.io/kubernetes
export GOPATH="$work/go" GOCACHE="$work/gocache" GO111MODULE=off CGO_ENABLED=0 HOME="$work"
cd go/src/k8s.io/kubernetes
{
    # The one generated file that the source package lacks: the schema of every type that asks for it.
    go build -o "$work/openapi-gen" ./vendor/k8s.io/kube-openapi/cmd/openapi-gen
    types=$(grep -Rl --include='*.go' '^// +k8s:openapi-gen=' vendor/k8s.io/*/ pkg |
        grep -v -e /code-generator/ -e /sample- | xargs -n1 dirname | LC_ALL=C sort -u | sed 's,^,k8s.io/kubernetes/,' | paste -sd,)
    "$work/openapi-gen" --logtostderr -i "$types" -p k8s.io/kubernetes/pkg/generated/openapi -O zz_generated.openapi \
        -h hack/boilerplate/boilerplate.generatego.txt -r "$work/violations"
    go build -ldflags "-s -w" -o "$work/out/" ./cmd/kube-apiserver ./cmd/kube-controller-manager
} >"$work/log" 2>&1 || {
    tail -50 "$work/log" >&2
    exit 1
}
mv "$work/packages/usr/bin/etcd" "$work/out/"
rm -rf "$folder"
mv "$work/out" "$folder"
echo "$folder"
