#!/usr/bin/env bash
# What a reviewer should not have to say.
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/prerequisites.sh rust go
source scripts/cache.sh

deny="$cache/tools/cargo-deny-0.20.2"
if [[ ! -x "$deny/bin/cargo-deny" ]]; then
    echo "building cargo-deny, which takes some minutes once" >&2
    cargo install --quiet --locked --root "$deny" cargo-deny@0.20.2
fi

step() { echo "lint: $*" >&2; "$@"; }
step cargo fmt --all --check
step cargo clippy --workspace --locked --quiet --all-targets -- -D warnings
# The tests on real nodes are no part of `cargo test`, and named beside a workspace they are left out.
step cargo clippy --locked --quiet --test e2e -- -D warnings
RUSTDOCFLAGS="-D warnings" step cargo doc --workspace --locked --quiet --no-deps --document-private-items
step "$deny/bin/cargo-deny" --log-level error --locked check --hide-inclusion-graph bans licenses sources
for module in tests/cluster tests/cluster/etcd tests/cluster/oracles tests/cluster/registry; do
    unformatted=$(cd "$module" && gofmt -l .)
    [[ -z "$unformatted" ]] || { echo "gofmt: $module: $unformatted" >&2; exit 1; }
done
(cd tests/cluster && step ./go.sh vet ./bed/... ./kube/... ./kubectl/... ./node/... ./sandbox/... && step ./go.sh vet -C registry ./...)
(cd tests/cluster/oracles && step go vet ./...)
