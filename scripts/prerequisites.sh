#!/usr/bin/env bash
# Says what is missing on this machine and how to get it, before anything long begins.
# Usage: prerequisites.sh [rust] [go] [image] [monitoring] [python] [nodes]
set -euo pipefail

missing=()
need() { # need COMMAND HOW
    command -v "$1" >/dev/null || missing+=("$1: $2")
}

for what in "${@:-rust go}"; do
    for part in $what; do
        case "$part" in
        rust)
            need cargo "install rustup from https://rustup.rs, then open a new shell"
            need cc "install a C compiler: apt-get install gcc libc6-dev, dnf install gcc, or xcode-select --install"
            ;;
        go)
            need go "install Go 1.26 or newer from https://go.dev/dl"
            if command -v go >/dev/null; then
                version=$(GOTOOLCHAIN=local go env GOVERSION)
                minor=$(sed -E 's/^go1\.([0-9]+).*/\1/' <<<"$version")
                if [[ "$version" == go1.* && "$minor" -lt 26 ]]; then
                    missing+=("go: found $version, 1.26 or newer is needed: install it from https://go.dev/dl")
                fi
            fi
            ;;
        image)
            need buildah "apt-get install buildah, dnf install buildah; where there is none, docker build . does the same"
            need musl-gcc "apt-get install musl-tools, dnf install musl-gcc"
            [[ -e /usr/share/ca-certificates/mozilla ]] || missing+=("CA roots: apt-get install ca-certificates")
            if command -v cargo >/dev/null; then
                target="$(uname -m)-unknown-linux-musl"
                [[ -d "$(rustc --print sysroot)/lib/rustlib/$target/lib" ]] ||
                    missing+=("Rust's libraries for static programs: rustup target add $target")
            fi
            ;;
        nodes)
            [[ "$(uname -s)" == Linux ]] || missing+=("Linux: real nodes are made of its namespaces and cgroups")
            ((EUID == 0)) || missing+=("root: real nodes have namespaces, mounts and cgroups of their own")
            # Root of a container may have neither right.
            [[ -w /sys/fs/cgroup ]] || missing+=("/sys/fs/cgroup: it cannot be written, so nodes could have no cgroups")
            unshare --mount --net --pid --uts --fork mount -t tmpfs none /mnt 2>/dev/null ||
                missing+=("the right to make namespaces and to mount in them")
            need runc "apt-get install runc"
            need iptables "apt-get install iptables"
            [[ -x /usr/lib/cni/bridge ]] || missing+=("/usr/lib/cni/bridge: apt-get install containernetworking-plugins")
            need dpkg-deb "a node has Debian's older containerd"
            ;;
        python)
            need python3 "apt-get install python3, or dnf install python3"
            ;;
        monitoring)
            need promtool "apt-get install --no-install-recommends prometheus, or brew install prometheus"
            # The distribution's package is for the distribution's Python, which need not be the first.
            reads=no
            for python in python3 /usr/bin/python3; do
                "$python" -c 'import prometheus_client.openmetrics.parser' 2>/dev/null && reads=yes
            done
            [[ "$reads" == yes ]] ||
                missing+=("Python's prometheus_client: apt-get install python3-prometheus-client, or pip install prometheus-client")
            ;;
        esac
    done
done
need sha256sum "install coreutils"

if ((${#missing[@]})); then
    echo "missing on this machine:" >&2
    printf '  %s\n' "${missing[@]}" >&2
    exit 1
fi
