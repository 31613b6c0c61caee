#!/usr/bin/env bash
# Measures what a pull ahead saves behind a thin link: a large image on real nodes, as root.
# docs/benchmarks.md explains it.
set -euo pipefail
cd "$(dirname "$0")/.."
tests/prerequisites.sh rust go image nodes python
bed=$(tests/cluster/build.sh all)
programs=$(tests/static.sh)
out=target/bench/$(date -u +%Y-%m-%dT%H%M%SZ)
mkdir -p "$out"
python3 tests/bench_pull.py "$bed" "$programs" --out "$out/pull.json" "$@"
echo "raw data: $out/pull.json" >&2
