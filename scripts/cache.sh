# To be sourced: where builds are kept, and keys by content, so that a fresh clone in another folder
# finds what an earlier one has built.

cache="${XDG_CACHE_HOME:-$HOME/.cache}/quayctl-controller"

# content_key PATH...: one hash over the names and bytes of all files below the given paths.
content_key() {
    (cd "$(dirname "${BASH_SOURCE[0]}")/.." &&
        find "$@" -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum | sha256sum | cut -c1-16)
}

# One target folder for each checkout: cargo tells by times alone whether something was built from the
# files that are there, so two checkouts that shared one would be given each other's programs. What
# takes long are the dependencies, and those are taken over from a folder that has them.
take_target_folder() {
    local root lock donor new
    root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
    lock="$(content_key Cargo.lock rust-toolchain.toml)"
    CARGO_TARGET_DIR="$cache/cargo/$lock-$(printf '%s' "$root" | sha256sum | cut -c1-8)"
    if [[ ! -d "$CARGO_TARGET_DIR" ]]; then
        mkdir -p "$cache/cargo"
        donor="$(find "$cache/cargo" -mindepth 1 -maxdepth 1 -type d -name "$lock-*" -printf '%T@ %p\n' | sort -rn | head -n 1 | cut -d' ' -f2-)"
        if [[ -n "$donor" ]]; then
            new="$(mktemp -d "$cache/cargo/.new.XXXXXX")"
            cp -a --reflink=auto "$donor/." "$new/"
            # Our own packages are built from these files here, not from those there.
            find "$new" \( -path '*/.fingerprint/quayctl-*' -o -path '*/incremental/*' \
                -o -path '*/deps/*quayctl_*' -o -path '*/deps/it-*' -o -path '*/deps/pause-*' \) -prune -exec rm -rf {} +
            # Another call may have been faster.
            mv -T "$new" "$CARGO_TARGET_DIR" 2>/dev/null || rm -rf "$new"
        fi
        # Checkouts come and go.
        find "$cache/cargo" -mindepth 1 -maxdepth 1 -type d -mtime +14 -exec rm -rf {} +
    fi
    mkdir -p "$CARGO_TARGET_DIR"
    touch "$CARGO_TARGET_DIR"
    export CARGO_TARGET_DIR
}
take_target_folder
