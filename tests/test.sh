#!/usr/bin/env bash
# All tests: Rust, those on a real control plane included, the test bed's own, deploy/ and the image. A part
# that fails keeps none of the others from running; which did is said at the end.
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
trap 'exit 130' INT
trap 'exit 143' TERM

source tests/parts.sh
if ! tests/prerequisites.sh monitoring 2>/dev/null; then
    # Read by tests/it/monitoring.rs.
    export QUAYCTL_WITHOUT_MONITORING=1
    echo "promtool's tests are left out; to have them: apt-get install --no-install-recommends prometheus python3-prometheus-client" >&2
fi

rust() { cargo test --locked --no-fail-fast "$@"; }
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
if tests/prerequisites.sh image 2>/dev/null; then
    part "the image" tests/image_test.sh
else
    echo "the image test is left out; to have it: apt-get install buildah musl-tools ca-certificates && rustup target add $(uname -m)-unknown-linux-musl" >&2
fi
parts_end
