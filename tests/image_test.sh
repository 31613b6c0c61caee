#!/usr/bin/env bash
# Builds the image, unpacks it with nothing but tar, and looks at what a cluster would get.
set -euo pipefail
cd "$(dirname "$0")/.."
source tests/checks.sh
archive=$(scripts/image.sh)

work=$(mktemp -d)
waiting=
end() {
    local code=$?
    trap - EXIT
    [[ -z "$waiting" ]] || kill -KILL "$waiting" 2>/dev/null || true
    rm -rf "$work"
    exit "$code"
}
trap end EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

mkdir "$work/oci" "$work/root"
tar -xf "$archive" -C "$work/oci"

# JSON without a JSON tool: one object a line, then the digest that stands in it.
blob() { # blob FILE MEDIA-TYPE: the blobs of that type that FILE points to
    tr '{}' '\n\n' <"$1" | grep "\"mediaType\":\"[^\"]*$2[^\"]*\"" |
        sed 's|.*"digest":"sha256:\([0-9a-f]*\)".*|\1|' | sed "s|^|$work/oci/blobs/sha256/|"
}
manifest=$(blob "$work/oci/index.json" image.manifest)
# The manifest names its own type too, outside of any object that has a digest.
config=$(blob "$manifest" image.config)
mapfile -t layers < <(blob "$manifest" image.layer)
contents() {
    local layer
    for layer in "${layers[@]}"; do
        tar --numeric-owner -tvf "$layer" | awk '{ print $1, $2, $NF }'
    done
}
for layer in "${layers[@]}"; do
    # Not as the owners in it, so that it works for any user; `contents` looks at those.
    tar --no-same-owner -xf "$layer" -C "$work/root"
done

says() { grep -F -q -- "$1" "$config" || { echo "not in the image's config: $1"; cat "$config"; return 1; }; }
version=$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml)
toolchain=$(sed -n 's/^channel = "\(.*\)"$/\1/p' rust-toolchain.toml)

check "it holds the two programs and the CA roots, all root's, and nothing else" same \
    "drwxr-xr-x 0/0 etc/
drwxr-xr-x 0/0 etc/ssl/
drwxr-xr-x 0/0 etc/ssl/certs/
-rw-r--r-- 0/0 etc/ssl/certs/ca-certificates.crt
-rwxr-xr-x 0/0 pause
-rwxr-xr-x 0/0 quayctl-controller" "$(contents)"

no_shell() { ! find "$work/root" -type f ! -name '*.crt' -exec head -c 2 {} \; | grep '#!' && [[ ! -e "$work/root/bin" ]]; }
check "no shell and no script is in it" no_shell
check "its user is numeric and not root" says '"User":"65532:65532"'
check "its entrypoint is the controller" says '"Entrypoint":["/quayctl-controller"]'
check "its version label is that of Cargo.toml" says "\"org.opencontainers.image.version\":\"$version\""
for label in title description licenses revision; do
    check "it has the label $label" says "\"org.opencontainers.image.$label\":\""
done
check "docker build . gives the same version" grep -q "^ARG VERSION=$version\$" Dockerfile
check "docker build . uses the pinned compiler" grep -q "/rust:$toolchain-" Dockerfile

at_most() { # at_most MIB WHAT BYTES
    printf '%s: %d KiB\n' "$2" "$(($3 / 1024))" >&3
    (($3 <= $1 * 1024 * 1024))
}
size() { cat "$@" | wc -c; }
exec 3>&1
check "all of it is at most 25 MB" at_most 25 "    unpacked" "$(find "$work/root" -type f -exec cat {} + | wc -c)"
check "the layers are at most 25 MB" at_most 25 "    layers" "$(size "${layers[@]}")"
check "the controller is at most 20 MB" at_most 20 "    controller" "$(size "$work/root/quayctl-controller")"
check "the helper is at most 1 MB" at_most 1 "    helper" "$(size "$work/root/pause")"

static() { ! readelf --program-headers --dynamic --wide "$1" | grep -E 'INTERP|NEEDED'; }
stripped() { ! readelf --sections --wide "$1" | grep -E '\.symtab|\.debug'; }
for program in quayctl-controller pause; do
    check "$program is static" static "$work/root/$program"
    check "$program is stripped" stripped "$work/root/$program"
done
check "there are CA roots" grep -q 'BEGIN CERTIFICATE' "$work/root/etc/ssl/certs/ca-certificates.crt"

# As the image's user, with the image as the whole file system.
if ((EUID == 0)); then
    inside() { chroot --userspec=65532:65532 "$work/root" "$@"; }
else
    inside() { buildah unshare chroot "$work/root" "$@"; }
fi
chmod 755 "$work" "$work/root"
prints() { # prints LINE COMMAND...
    local line=$1
    shift
    same "$line" "$("$@")"
}
pause_says="pause (quayctl-controller) $version"
check "quayctl-controller --version runs" prints "quayctl-controller $version" inside /quayctl-controller --version
check "/pause -v runs" prints "$pause_says" inside /pause -v
unread() { inside /pause -v >/dev/full; }
check "/pause -v ends well when nobody can read it" exits 0 unread

install() { (umask 077 && "$work/root/pause" --install "$work/installed"); }
for time in first second; do
    check "/pause --install works, the $time time" exits 0 install
done
check "what it installed runs" prints "$pause_says" "$work/installed" -v
check "what it installed is there for every user" same 755 "$(stat -c %a "$work/installed" || true)"
check "nothing else is left" same installed "$(cd "$work" && ls -d installed*)"
check "/pause --install says when it fails" exits 1 inside /pause --install /nowhere/pause
for usage in -x --install "-v -v"; do
    # shellcheck disable=SC2086 # two words are two arguments
    check "/pause $usage is a usage error" exits 2 inside /pause $usage
done

"$work/root/pause" &
waiting=$!
sleep 0.3
check "/pause waits" kill -0 "$waiting"
kill -TERM "$waiting"
code=0
wait "$waiting" || code=$?
waiting=
check "/pause ends on SIGTERM" same 143 "$code"

summary
