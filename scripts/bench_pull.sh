#!/usr/bin/env bash
# Measures what a pull ahead saves behind a thin link: a large image on real nodes, as root.
# docs/benchmarks.md explains it.
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/prerequisites.sh rust go image nodes python
bed=$(tests/cluster/build.sh all)
programs=$(scripts/static.sh)
out=target/bench/$(date -u +%Y-%m-%dT%H%M%SZ)
mkdir -p "$out"
python3 scripts/bench_pull.py "$bed" "$programs" --out "$out/pull.json" "$@"
echo "raw data: $out/pull.json" >&2
