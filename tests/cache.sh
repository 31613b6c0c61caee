# To be sourced: where builds are kept, and keys by content, so that a fresh clone in another folder
# finds what an earlier one has built.

cache="${XDG_CACHE_HOME:-$HOME/.cache}/quayctl-controller"

# content_key PATH...: one hash over the names and bytes of all files below the given paths.
content_key() {
    (cd "$(dirname "${BASH_SOURCE[0]}")/.." &&
        find "$@" -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum | sha256sum | cut -c1-16)
}

# One target folder for each set of dependencies: they are most of what is compiled.
CARGO_TARGET_DIR="$cache/cargo/$(content_key Cargo.lock rust-toolchain.toml)"
export CARGO_TARGET_DIR
