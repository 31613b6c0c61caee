#!/usr/bin/env bash
# Builds the container image as an OCI archive, with no engine and nothing from a registry: the static
# binaries are built here and stand in for the Dockerfile's stage `build`. Prints the archive's path,
# which is all that goes to stdout.
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/prerequisites.sh rust image

archive=target/image/quayctl-controller.oci.tar
binaries=$(scripts/static.sh)

# buildah's own storage, too, so that nothing is left on the machine.
work=$(mktemp -d)
fresh=
export XDG_DATA_HOME="$work/data"
containers=absent
[[ ! -e /var/lib/containers ]] || containers=present
end() {
    local code=$?
    trap - EXIT
    [[ -z "$fresh" ]] || rm -f "$fresh"
    # Without root its files belong to other users of our user namespace.
    rm -rf "$work" 2>/dev/null || buildah unshare rm -rf "$work"
    # Root's push notes there what it has seen, and no option says otherwise.
    if [[ "$containers" == absent && -O /var/lib/containers ]]; then
        rm -f /var/lib/containers/cache/blob-info-cache-v1.*
        rmdir /var/lib/containers/cache /var/lib/containers 2>/dev/null || true
    fi
    exit "$code"
}
trap end EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

mkdir -p "$work/stage/out" "$work/context"
cp "$binaries/quayctl-controller" "$binaries/pause" "$work/stage/out/"
# The distribution's roots, without what the owner of this machine has added.
cat /usr/share/ca-certificates/mozilla/*.crt >"$work/stage/out/ca-certificates.crt"
chmod 644 "$work/stage/out/ca-certificates.crt"

version=$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml)
revision=$(git describe --always --dirty --abbrev=40 --exclude='*' 2>/dev/null || true)
# With the commit's time everywhere, one commit gives one digest.
time=$(git log -1 --format=%ct 2>/dev/null || echo 0)

storage=(--root "$work/root" --runroot "$work/runroot" --storage-driver vfs)
buildah "${storage[@]}" bud --quiet --isolation chroot --file Dockerfile --target final \
    --build-context build="$work/stage" --build-arg TARGETARCH= \
    --build-arg VERSION="$version" --build-arg REVISION="$revision" --timestamp "$time" \
    --tag quayctl-controller "$work/context" >/dev/null
mkdir -p "$(dirname "$archive")"
# An archive that is there already would be added to.
fresh=$(mktemp -u "$archive.XXXXXX")
buildah "${storage[@]}" push --quiet quayctl-controller "oci-archive:$fresh:$version"
mv "$fresh" "$archive"

for file in "$binaries/quayctl-controller" "$binaries/pause" "$archive"; do
    printf '%8d KiB  %s\n' "$(($(stat -c %s "$file") / 1024))" "$(basename "$file")" >&2
done
echo "$archive"
