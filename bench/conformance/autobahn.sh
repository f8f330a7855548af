#!/usr/bin/env bash
# Runs Autobahn's WebSocket cases against an echo server, directly and through the edge, and compares the results.
#
#   bench/conformance/autobahn.sh [CASE...]
#
# CASE is a pattern of Autobahn's, such as '1.*' or 9.1.1; all run when there is none. WSTEST names Autobahn's program
# (of the Python 2.7 package autobahntestsuite; otherwise it is looked for in the path), and BENCH the benchmarks'
# binary when it is built already. The reports are left in $RESULTS, if that is set. Ends with 1 when a case ends
# differently, or when one was not run both ways.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=bench/conformance/common.sh
. "$here/common.sh"
wstest=${WSTEST:-wstest}

# The port can't be left to the program, so one is taken that is free now.
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
# The program's own server listens on all addresses; this leaves the others to the edge.
"$(dirname "$(command -v "$wstest")")/python" - "$port" >"$work/echo.out" 2>&1 <<'PYTHON' &
import sys
from twisted.internet import reactor
listen = reactor.listenTCP
reactor.listenTCP = lambda port, factory, *others, **named: listen(port, factory, interface="127.0.0.1")
from autobahntestsuite import wstest
sys.argv = ["wstest", "-m", "testeeserver", "-w", "ws://127.0.0.1:" + sys.argv[1]]
wstest.run()
PYTHON
pids+=($!)
for _ in $(seq 200); do
    if (: <"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then break; fi
    sleep 0.1
done

mkfifo "$work/orders"
# The echo server refuses a Host whose port is not its own, so the edge has the same port of another address.
"$bench" edge --http "127.0.0.2:$port" <"$work/orders" >"$work/edge.out" 2>"$work/edge.err" &
pids+=($!)
exec 3>"$work/orders"
echo "{\"app\": {\"host\": \"127.0.0.2\", \"upstreams\": [\"127.0.0.1:$port\"]}}" >&3
for _ in $(seq 200); do
    if grep -q '"applied"' "$work/edge.out"; then break; fi
    sleep 0.1
done
if ! grep -q '"applied"' "$work/edge.out"; then cat "$work/edge.err" >&2; exit 1; fi

python3 - "$port" "$work" "$@" >"$work/spec.json" <<'PYTHON'
import json, sys
port, work, *cases = sys.argv[1:]
addresses = {"direct": "127.0.0.1", "edge": "127.0.0.2"}
servers = [{"agent": agent, "url": f"ws://{address}:{port}"} for agent, address in addresses.items()]
json.dump({"outdir": f"{work}/reports", "servers": servers, "cases": cases or ["*"], "exclude-cases": []}, sys.stdout)
PYTHON
"$wstest" -m fuzzingclient -s "$work/spec.json" >"$work/client.out" 2>&1 || { tail -n 20 "$work/client.out" >&2; exit 1; }
if [ -n "${RESULTS:-}" ]; then cp -r "$work/reports" "$RESULTS"; fi

python3 - "$work/reports/index.json" <<'PYTHON'
import collections, json, sys
with open(sys.argv[1]) as file:
    results = json.load(file)
direct, edge = results.get("direct", {}), results.get("edge", {})
ends = lambda case: (case["behavior"], case["behaviorClose"]) if case else None
cases = sorted(direct.keys() | edge.keys(), key=lambda name: [int(part) for part in name.split(".")])
different = [name for name in cases if ends(direct.get(name)) != ends(edge.get(name))]
for name in different:
    print(f"{name}: {ends(direct.get(name))} directly, {ends(edge.get(name))} through the edge")
for agent, of_agent in (("direct", direct), ("edge", edge)):
    counts = collections.Counter(case["behavior"] for case in of_agent.values())
    print(f"{agent}:", ", ".join(f"{count} {end}" for end, count in sorted(counts.items())))
print(f"{len(cases)} cases, {len(cases) - len(different)} the same, {len(different)} different")
sys.exit(1 if different or not cases else 0)
PYTHON
