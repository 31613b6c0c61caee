#!/usr/bin/env bash
# Measures the controller against kubectl on control planes that are started here and ended again.
# Usage: bench.sh [scale|serve]; NODES=… replaces the numbers of nodes. docs/benchmarks.md
# explains them.
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/prerequisites.sh rust go
bed=$(tests/cluster/build.sh)
binary=$(scripts/shipped_binary.sh)

case "${1:-}" in
"")
    called="make bench${NODES:+ NODES=$NODES}"
    scripts/bench_check.sh
    flags=(--nodes "${NODES:-200}" --images 3 --rounds 3 --modes stock,open)
    ;;
scale)
    called="make bench-scale${NODES:+ NODES=$NODES}"
    flags=(--nodes "${NODES:-1000,5000}" --images 20 --rounds 1 --modes open --realistic --only ours --timeout 20m)
    ;;
serve)
    scripts/prerequisites.sh python
    out=target/bench/$(date -u +%Y-%m-%dT%H%M%SZ)
    mkdir -p "$out"
    exec python3 scripts/bench_serve.py "$bed" "$binary" --nodes "${NODES:-1000}" --out "$out/serve.json"
    ;;
*)
    echo "usage: bench.sh [scale|serve]" >&2
    exit 2
    ;;
esac

out=target/bench/$(date -u +%Y-%m-%dT%H%M%SZ)
mkdir -p "$out"
code=0
"$bed/bed" bench --dir "$out" --controller "$binary" --raw "$out/raw.json" --command "$called" "${flags[@]}" || code=$?
echo "raw data: $out/raw.json" >&2
exit "$code"
