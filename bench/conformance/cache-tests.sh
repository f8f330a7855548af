#!/usr/bin/env bash
# Runs http-tests/cache-tests through the edge's response cache, and prints what passes and what does not.
#
#   bench/conformance/cache-tests.sh CHECKOUT [TEST]
#
# CHECKOUT is a checkout of github.com/http-tests/cache-tests in which `npm install` has been run. With TEST, only the
# test of that id runs, and every message is shown. BENCH names the benchmarks' binary when it is built already.
# The results as the suite writes them are left in $RESULTS, if that is set. Ends with 1 when a required test fails.
set -euo pipefail

checkout=${1:?the checkout of cache-tests}
test=${2:-}
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=bench/conformance/common.sh
. "$here/common.sh"

(cd "$checkout" && npm_config_protocol=http npm_config_port=0 npm_config_pidfile="$work/origin.pid" \
    exec node test-engine/server/server.mjs) >"$work/origin.out" 2>&1 &
pids+=($!)
origin=$(found "$work/origin.out" 'Listening on http://.*:([0-9]+)/')

mkfifo "$work/orders"
"$bench" edge <"$work/orders" >"$work/edge.out" 2>"$work/edge.err" &
pids+=($!)
exec 3>"$work/orders"
edge=$(found "$work/edge.out" '"http":"127\.0\.0\.1:([0-9]+)"')
# `set_cookie`: RFC 9111 section 7.3 lets answers with Set-Cookie be kept, and the suite asks for that; an edge
# keeps them only when it is told so. `compression` is off because the suite compares fields as they were sent.
policy='{"cache": {"enabled": true, "explicit_private": true, "set_cookie": true}, "compression": "off"}'
echo "{\"app\": {\"host\": \"localhost\", \"upstreams\": [\"127.0.0.1:$origin\"], \"policy\": $policy}}" >&3
found "$work/edge.out" '("applied")' >/dev/null

cd "$checkout"
# As npm would set them; the suite wants an empty id, not none.
export npm_config_base="http://localhost:$edge" npm_package_config_id="$test"
if [ -n "$test" ]; then
    tail -n +2 -f "$work/origin.out" &
    pids+=($!)
    node --no-warnings test-engine/cli.mjs
    exit
fi
node --no-warnings test-engine/cli.mjs >"$work/results.json"
if [ -n "${RESULTS:-}" ]; then cp "$work/results.json" "$RESULTS"; fi
node "$here/cache-tests/summary.mjs" "$checkout" "$work/results.json"
