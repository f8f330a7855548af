#!/usr/bin/env bash
# Runs testssl.sh against a site of the edge, with HSTS on, once with an ECDSA and once with an RSA certificate.
#
#   bench/conformance/testssl.sh CHECKOUT
#
# CHECKOUT is a checkout of github.com/testssl/testssl.sh. BENCH names the benchmarks' binary when it is built already.
# The reports are left in $RESULTS, if that is set. Ends with 1 when a grade is not A+, or when something is found that
# is more than a remark.
set -euo pipefail

checkout=${1:?the checkout of testssl.sh}
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=bench/conformance/common.sh
. "$here/common.sh"

# An authority, and certificates as public ones are.
openssl req -x509 -newkey rsa:2048 -nodes -days 100 -subj "/O=Conformance/CN=Authority" \
    -keyout "$work/ca.key" -out "$work/ca.pem" 2>/dev/null
certify() {
    local name=$1
    shift
    openssl req -new -nodes "$@" -subj "/CN=$name.test" -keyout "$work/$name.key" -out "$work/$name.csr" 2>/dev/null
    printf '%s\n' "subjectAltName=DNS:$name.test" "basicConstraints=CA:FALSE" "keyUsage=critical,digitalSignature" \
        "extendedKeyUsage=serverAuth" "crlDistributionPoints=URI:http://crl.test/ca.crl" >"$work/$name.ext"
    openssl x509 -req -in "$work/$name.csr" -CA "$work/ca.pem" -CAkey "$work/ca.key" -days 80 \
        -set_serial "0x$(openssl rand -hex 16)" -extfile "$work/$name.ext" -out "$work/$name.crt" 2>/dev/null
}
certify ec -newkey ec -pkeyopt ec_paramgen_curve:P-256
certify rsa -newkey rsa:2048

mkdir "$work/site"
echo '<!doctype html><title>A site</title>' >"$work/site/index.html"
mkfifo "$work/orders"
"$bench" edge --https 127.0.0.1:0 <"$work/orders" >"$work/edge.out" 2>"$work/edge.err" &
pids+=($!)
exec 3>"$work/orders"
for name in ec rsa; do
    chain=$(printf '{"certificate": {"name": "%s.test", "chain": "%s", "key": "%s"}}' \
        "$name" "$work/$name.crt" "$work/$name.key")
    hsts='{"https": {"redirect": true, "hsts": {"max_age_s": 63072000, "include_subdomains": true}}}'
    echo "$chain" >&3
    echo "{\"site\": {\"host\": \"$name.test\", \"folder\": \"$work/site\", \"policy\": $hsts}}" >&3
done
for _ in $(seq 200); do
    if [ "$(grep -c '"applied"' "$work/edge.out")" = 4 ]; then break; fi
    sleep 0.1
done
if [ "$(grep -c '"applied"' "$work/edge.out")" != 4 ]; then cat "$work/edge.out" "$work/edge.err" >&2; exit 1; fi
port=$(sed -nE 's!.*"https":"127\.0\.0\.1:([0-9]+)".*!\1!p' "$work/edge.out")

mkdir "$work/reports"
for name in ec rsa; do
    # It ends with the number of findings, which are judged below.
    "$checkout/testssl.sh" --quiet --color 0 --warnings off --nodns none --ip 127.0.0.1 --add-ca "$work/ca.pem" \
        --jsonfile "$work/reports/$name.json" --logfile "$work/reports/$name.txt" "$name.test:$port" \
        >/dev/null 2>"$work/reports/$name.err" || true
done
if [ -n "${RESULTS:-}" ]; then cp -r "$work/reports" "$RESULTS"; fi

python3 - "$work/reports" <<'PYTHON'
import json, sys
failed = False
for name in ("ec", "rsa"):
    with open(f"{sys.argv[1]}/{name}.json") as file:
        findings = json.load(file)
    grade = next((f["finding"] for f in findings if f["id"] == "overall_grade"), "none")
    # WARN tells what could not be tested here.
    remarks = [f for f in findings if f["severity"] in ("LOW", "WARN")]
    bad = [f for f in findings if f["severity"] not in ("OK", "INFO", "LOW", "WARN")]
    print(f"{name}: grade {grade}, {len(findings)} findings, {len(bad)} above LOW")
    for finding in bad + remarks:
        print(f"  {finding['severity']} {finding['id']}: {finding['finding']}")
    failed |= grade != "A+" or bool(bad)
sys.exit(failed)
PYTHON
