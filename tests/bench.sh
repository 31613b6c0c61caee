#!/usr/bin/env bash
# Measures the controller against kubectl on control planes that are started here and ended again.
# Usage: bench.sh [check|scale|serve]; NODES=… replaces the numbers of nodes. docs/benchmarks.md
# explains them.
set -euo pipefail
cd "$(dirname "$0")/.."
tests/prerequisites.sh rust go python
bed=$(tests/cluster/build.sh)
# What is shipped, where it can be built.
if tests/prerequisites.sh image 2>/dev/null; then
    binary=$(tests/static.sh)/quayctl-controller
else
    binary=$(tests/binary.sh)
fi

case "${1:-}" in
check)
    exec python3 tests/bench_check.py "$binary"
    ;;
"")
    python3 tests/bench_check.py "$binary"
    echo
    called="make bench${NODES:+ NODES=$NODES}"
    flags=(--nodes "${NODES:-200}" --images 3 --rounds 3 --modes stock,open)
    ;;
scale)
    called="make bench-scale${NODES:+ NODES=$NODES}"
    flags=(--nodes "${NODES:-1000,5000}" --images 20 --rounds 1 --modes open --realistic --only ours --timeout 20m)
    ;;
serve)
    out=target/bench/$(date -u +%Y-%m-%dT%H%M%SZ)
    mkdir -p "$out"
    exec python3 tests/bench_serve.py "$bed" "$binary" --nodes "${NODES:-1000}" --out "$out/serve.json"
    ;;
*)
    echo "usage: bench.sh [check|scale|serve]" >&2
    exit 2
    ;;
esac

out=target/bench/$(date -u +%Y-%m-%dT%H%M%SZ)
mkdir -p "$out"
code=0
"$bed/bed" bench --dir "$out" --controller "$binary" --raw "$out/raw.json" --command "$called" "${flags[@]}" || code=$?
echo "raw data: $out/raw.json" >&2
exit "$code"
