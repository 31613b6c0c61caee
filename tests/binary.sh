#!/usr/bin/env bash
# Builds the release binary, or finds the one that was built from the same sources, and prints its
# path, which is all that goes to stdout.
set -euo pipefail
cd "$(dirname "$0")/.."
source tests/cache.sh

binary="$cache/bin/$(content_key Cargo.toml Cargo.lock rust-toolchain.toml src templates)/quayctl-controller"
if [[ ! -x "$binary" ]]; then
    echo "building quayctl-controller (about 4 minutes the first time, seconds later)" >&2
    cargo build --release --locked >&2
    mkdir -p "$(dirname "$binary")"
    # Another build may do the same: whoever is last replaces an equal file.
    copy=$(mktemp "$(dirname "$binary")/.new.XXXXXX")
    cp "$CARGO_TARGET_DIR/release/quayctl-controller" "$copy"
    chmod 755 "$copy"
    mv "$copy" "$binary"
fi
echo "$binary"
