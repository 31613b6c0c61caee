#!/usr/bin/env bash
# Builds the two static programs of the image, or finds those that were built from the same sources, and
# prints the folder that they are in, which is all that goes to stdout.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/cache.sh

target="$(uname -m)-unknown-linux-musl"
binaries="$cache/bin/$(content_key Cargo.toml Cargo.lock rust-toolchain.toml crates src templates)-$target"
if [[ ! -x "$binaries/quayctl-controller" || ! -x "$binaries/pause" ]]; then
    echo "building the static binaries (about 6 minutes the first time, 1 minute later)" >&2
    # ring has C in it. Cargo links with the libc that comes with the target.
    TARGET_CC=musl-gcc cargo build --profile dist --locked --target "$target" >&2
    mkdir -p "$binaries"
    for program in quayctl-controller pause; do
        # Another build may do the same: whoever is last replaces an equal file.
        copy=$(mktemp "$binaries/.new.XXXXXX")
        cp "$CARGO_TARGET_DIR/$target/dist/$program" "$copy"
        chmod 755 "$copy"
        mv "$copy" "$binaries/$program"
    done
fi
echo "$binaries"
