#!/usr/bin/env bash
# All tests: Rust, those on a real control plane included, the test bed's own, deploy/, the image and real
# nodes. A part that fails keeps none of the others from running; which did is said at the end.
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/prerequisites.sh rust go
source scripts/cache.sh

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
trap 'exit 130' INT
trap 'exit 143' TERM

source tests/parts.sh
if ! scripts/prerequisites.sh monitoring 2>/dev/null; then
    # Read by tests/it/monitoring.rs.
    export QUAYCTL_WITHOUT_MONITORING=1
    echo "promtool's tests are left out; to have them: apt-get install --no-install-recommends prometheus python3-prometheus-client" >&2
fi

rust() { cargo test --workspace --locked --no-fail-fast "$@"; }
bed() {
    local code=0
    cd tests/cluster
    ./go.sh test ./bed/... || code=$?
    ./go.sh test -C registry ./... || code=$?
    return "$code"
}
deploy() {
    # Where it does not build, what an earlier build has left is not tested in its place.
    cargo build --locked --quiet
    QUAYCTL_BINARY="$CARGO_TARGET_DIR/debug/quayctl-controller" tests/deploy_test.sh
}

part "Rust" rust "$@"
part "the test bed" bed
part "deploy/" deploy
# Runs a test where the machine has what it needs, and says what is missing where it has not.
where_possible() { # where_possible NAME PREREQUISITES COMMAND
    local missing
    # shellcheck disable=SC2086 # several words
    if missing=$(scripts/prerequisites.sh $2 2>&1); then
        part "$1" "$3"
    else
        part_skipped "$1" "$(tail -n +2 <<<"$missing" | sed 's/^ *//' | paste -sd';' | sed 's/;/; /g')"
    fi
}
where_possible "the image" image tests/image_test.sh
where_possible "real nodes" "image nodes" tests/e2e.sh
parts_end
