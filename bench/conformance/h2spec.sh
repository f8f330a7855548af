#!/usr/bin/env bash
# Runs h2spec against the edge, over TLS and in plain (h2c), and prints what fails and both summaries.
#
#   bench/conformance/h2spec.sh H2SPEC [SECTION...]
#
# H2SPEC is the binary of github.com/summerwind/h2spec. With SECTIONs (such as `http2/5.1`), only these run. BENCH names
# the benchmarks' binary when it is built already. Ends with 1 when a test fails.
set -euo pipefail

h2spec=${1:?the binary of h2spec}
shift
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=bench/conformance/common.sh
. "$here/common.sh"

mkdir "$work/site"
# As long as the suite needs to see flow control at work.
head -c 2000 /dev/zero | tr '\0' 'x' >"$work/site/index.html"
mkfifo "$work/orders"
"$bench" edge --https 127.0.0.1:0 <"$work/orders" >"$work/edge.out" 2>"$work/edge.err" &
pids+=($!)
exec 3>"$work/orders"
http=$(found "$work/edge.out" '"http":"127\.0\.0\.1:([0-9]+)"')
https=$(found "$work/edge.out" '"https":"127\.0\.0\.1:([0-9]+)"')
echo '{"certificate": {"name": "localhost"}}' >&3
found "$work/edge.out" '("applied")' >/dev/null
echo "{\"site\": {\"host\": \"localhost\", \"folder\": \"$work/site\"}}" >&3
found "$work/edge.out" '("applied")' 2 >/dev/null

failed=0
for way in "-t -k -p $https" "-p $http"; do
    echo "h2spec $way"
    # shellcheck disable=SC2086
    "$h2spec" -h localhost $way -o 5 "$@" >"$work/result" 2>&1 || failed=1
    sed -n '/^Failures:/,$p' "$work/result"
    tail -n 1 "$work/result"
done
exit $failed
