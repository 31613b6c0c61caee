#!/usr/bin/env bash
# All tests: Rust, those on a real control plane included, and the test bed's own.
set -euo pipefail
cd "$(dirname "$0")/.."
tests/prerequisites.sh rust go
source tests/cache.sh

QUAYCTL_TEST_BED=$(tests/cluster/build.sh)
export QUAYCTL_TEST_BED

# Clusters end with the test process that holds them; this waits until the last one has.
TMPDIR=$(mktemp -d)
export TMPDIR
end() {
    local code=$?
    trap - EXIT
    for dir in "$TMPDIR"/quayctl-bed-*; do
        [[ ! -d "$dir" ]] || "$QUAYCTL_TEST_BED/bed" down --dir "$dir" >&2 || true
    done
    rm -rf "$TMPDIR"
    exit "$code"
}
trap end EXIT

cargo test --locked "$@"
(cd tests/cluster && go test ./bed/...)
