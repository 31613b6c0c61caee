#!/usr/bin/env bash
# Builds the controller, or finds the one that was built from the same sources, and prints its path,
# which is all that goes to stdout. Usage: binary.sh [dev]: what `make test` builds as well, in half the
# time; without it the release build, for whatever is measured.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/cache.sh

case "${1:-release}" in
release) profile=(--release) built=release suffix='' ;;
dev) profile=() built=debug suffix=-dev ;;
*)
    echo "usage: binary.sh [dev]" >&2
    exit 2
    ;;
esac
binary="$cache/bin/$(content_key Cargo.toml Cargo.lock rust-toolchain.toml crates src templates)$suffix/quayctl-controller"
if [[ ! -x "$binary" ]]; then
    echo "building quayctl-controller (some minutes the first time, seconds later)" >&2
    cargo build "${profile[@]}" --locked >&2
    mkdir -p "$(dirname "$binary")"
    # Another build may do the same: whoever is last replaces an equal file.
    copy=$(mktemp "$(dirname "$binary")/.new.XXXXXX")
    cp "$CARGO_TARGET_DIR/$built/quayctl-controller" "$copy"
    chmod 755 "$copy"
    mv "$copy" "$binary"
fi
echo "$binary"
