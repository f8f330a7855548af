#!/bin/sh
# The DNS server beside NSD with the same zone in the same run: queries per second by dnsperf, and processor time for
# each query. Needs the packages nsd, dnsperf and procps. Usage: bench/conformance/dns.sh [SECONDS]
set -eu
cd "$(dirname "$0")/../.."
seconds=${1:-10}
folder=$(mktemp -d)
pids=""
finish() {
    for pid in $pids; do kill "$pid" 2>/dev/null || true; done
    # NSD writes its state when it ends.
    wait
    rm -rf "$folder"
}
trap finish EXIT

cargo build -q --release -p dns --example serve
serve="${CARGO_TARGET_DIR:-target}/release/examples/serve"

port() {
    python3 -c 'import socket; s=socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(("127.0.0.1",0)); print(s.getsockname()[1])'
}

# 5,000 hosts, a wildcard and a chain; the queries mix them with names that are not there.
{
    echo "\$TTL 3600"
    echo '@ IN SOA ns1 hostmaster 1 3600 600 1209600 300'
    echo '@ IN NS ns1'
    echo 'ns1 IN A 192.0.2.1'
    echo '*.wild IN A 192.0.2.2'
    echo 'www IN CNAME host1'
    for n in $(seq 5000); do echo "host$n IN A 192.0.2.$((n % 250 + 1))"; done
} >"$folder/zone"
for n in $(seq 5000); do
    echo "host$n.example.com A"
    case $((n % 10)) in
        0) echo "no$n.example.com A" ;;
        1) echo "a$n.wild.example.com A" ;;
        2) echo "www.example.com A" ;;
        *) ;;
    esac
done >"$folder/queries"

ours=$(port)
"$serve" "127.0.0.1:$ours" example.com. "$folder/zone" >/dev/null &
ours_pid=$!
signed=$(port)
"$serve" "127.0.0.1:$signed" example.com. "$folder/zone" signed >/dev/null &
signed_pid=$!
theirs=$(port)
cat >"$folder/nsd.conf" <<EOF
server:
 ip-address: 127.0.0.1@$theirs
 username: ""
 chroot: ""
 zonesdir: "$folder"
 xfrdfile: "$folder/xfrd"
 zonelistfile: "$folder/list"
 pidfile: "$folder/pid"
 database: ""
 xfrdir: "$folder"
 cookie-secret-file: "$folder/cookie"
 server-count: $(nproc)
 rrl-ratelimit: 0
remote-control:
 control-enable: no
zone:
 name: example.com
 zonefile: "$folder/zone"
EOF
nsd -d -c "$folder/nsd.conf" 2>/dev/null &
nsd_pid=$!
pids="$ours_pid $signed_pid $nsd_pid"
for port in "$ours" "$signed" "$theirs"; do
    dig +tries=50 +time=1 +short "@127.0.0.1" -p "$port" www.example.com A >/dev/null
done

# Processes below a process, itself first.
family() {
    echo "$1"
    for child in $(pgrep -P "$1" || true); do family "$child"; done
}

# Processor time of a process and all below it so far, in clock ticks.
ticks() {
    total=0
    for pid in $(family "$1"); do
        # Behind the name, which may have blanks in it.
        total=$((total + $(sed 's/.*) //' "/proc/$pid/stat" | awk '{ print $12 + $13 }')))
    done
    echo "$total"
}

measure() {
    before=$(ticks "$3")
    # shellcheck disable=SC2086
    dnsperf -s 127.0.0.1 -p "$2" -d "$folder/queries" -l "$seconds" -c 8 -T 1 ${4:-} >"$folder/out"
    after=$(ticks "$3")
    awk -v name="$1" -v ticks="$((after - before))" -v hz="$(getconf CLK_TCK)" '
        /Queries completed/ { done = $3 }
        /Queries lost/ { lost = $3 }
        /Queries per second/ { rate = $4 }
        END { printf "%-12s %8d queries/s, %5.2f us of processor a query, %d lost\n", name, rate, ticks / hz * 1e6 / done, lost }
    ' "$folder/out"
}
for round in 1 2; do
    echo "round $round"
    measure ours "$ours" "$ours_pid"
    measure NSD "$theirs" "$nsd_pid"
    measure "ours signed" "$signed" "$signed_pid" -D
done
