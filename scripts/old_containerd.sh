#!/usr/bin/env bash
# Unpacks Debian's containerd, which is of the generation 1.x, without installing it, and prints the
# directory of its programs. One of the real nodes runs it. Fails, saying why, where there is none to be had.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/cache.sh

fail() {
    echo "no containerd 1.x: $*" >&2
    exit 1
}
command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null || fail "this is no Debian"
version=$(LC_ALL=C apt-cache policy containerd 2>/dev/null | sed -n 's/^ *Candidate: //p')
[[ "$version" == 1.* ]] || fail "the packages known here have version '${version:-none}'; apt-get update may help"

target="$cache/containerd/$version"
if [[ ! -x "$target/usr/bin/containerd" ]]; then
    mkdir -p "$cache/containerd"
    fresh=$(mktemp -d "$cache/containerd/.new.XXXXXX")
    trap 'rm -rf "$fresh"' EXIT
    # Where it says that it does so as root it means the folder's rights, which is no matter here.
    (cd "$fresh" && apt-get download -qq "containerd=$version" 2>&1) >"$fresh.log" || {
        said=$(tail -n 1 "$fresh.log")
        rm -f "$fresh.log"
        fail "$said"
    }
    rm -f "$fresh.log"
    dpkg-deb -x "$fresh"/containerd_*.deb "$fresh"
    rm -f "$fresh"/containerd_*.deb
    mv -T "$fresh" "$target" 2>/dev/null || [[ -x "$target/usr/bin/containerd" ]] || fail "could not move it to $target"
fi
echo "$target/usr/bin"
