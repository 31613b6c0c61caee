#!/usr/bin/env bash
# Measures what needs no cluster, on one core: `check` of the example and of 10,000 groups, and 5,000
# nodes rendered. Prints a table; nothing depends on what is in it. docs/benchmarks.md explains it.
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/prerequisites.sh rust
binary=$(scripts/shipped_binary.sh)
one_core=()
if command -v taskset >/dev/null; then one_core=(taskset -c 0); fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# Something to wait for that never comes: `sleep` would be a process more.
exec {never}<> <(:)

# groups MORE: 10,000 groups, each with what MORE prints of its number. A ConfigMap's 1 MiB holds them.
groups() {
    local n
    for ((n = 0; n < 10000; n++)); do
        printf '[[groups]]\nname="g%d"\nimages=["a/b:%d"]\n' "$n" "$n"
        # shellcheck disable=SC2059 # it is a format
        printf "$1" "$n"
    done
}

images() {
    local n
    for n in 1 2 3 4 5; do printf '"quay.io/team/app-%d:1.0",' "$n"; done
}

nodes() {
    local n
    printf 'apiVersion: v1\nkind: List\nitems:\n'
    for ((n = 0; n < 5000; n++)); do
        cat <<YAML
- apiVersion: v1
  kind: Node
  metadata:
    name: node-$n.example.com
    uid: 0b6f5f4e-0001-4a55-9d43-$((100000000000 + n))
    labels: {kubernetes.io/arch: amd64, kubernetes.io/os: linux, kubernetes.io/hostname: node-$n, zone: fra}
  status:
    conditions: [{type: Ready, status: "True"}]
    nodeInfo: {operatingSystem: linux, architecture: amd64, kubeletVersion: v1.37.2, containerRuntimeVersion: "containerd://2.2.0"}
YAML
    done
}

# The built-in template with the node's name in the pod, so that no two nodes have one text.
sed 's/automountServiceAccountToken: false/schedulerName: {{q node.name}}\n      &/' \
    templates/image-volume.yaml.hbs >"$work/own.yaml.hbs"
own='[templates.own]\nfile = "own.yaml.hbs"\n'
groups '' >"$work/groups.toml"
{ printf '[defaults]\ncarrier_image = "c:1"\n' && groups 'values={cpu="%du"}\n'; } >"$work/values.toml"
{ printf '[defaults]\ntemplate = "own"\n%b' "$own" && groups 'values={cpu="%du"}\n'; } >"$work/own.toml"
nodes >"$work/nodes.yaml"
printf '[[groups]]\nname = "g"\nimages = [%s]\ntemplate = "image-volume"\n' "$(images)" >"$work/five.toml"
{ sed 's/"image-volume"/"own"/' "$work/five.toml" && printf '%b' "$own"; } >"$work/five-own.toml"

# The most memory that a command holds, in KiB, looked at every 2 ms.
peak() {
    local pid status key value _ most=0
    "$@" >"$work/out" 2>"$work/err" &
    pid=$!
    # It is gone once bash has noticed its end, and holds no memory once it has ended.
    while status=$(<"/proc/$pid/status"); do
        value=
        while read -r key value _ && [[ "$key" != VmHWM: ]]; do value=; done <<<"$status"
        [[ -n "$value" ]] || break
        most=$value
        read -rt 0.002 -u "$never" _ || true
    done 2>/dev/null
    wait "$pid"
    echo "$most"
}

# row ROUNDS WHAT BAR COMMAND...: median (least to most) of the wall times, median of the CPU times.
row() {
    local rounds=$1 what=$2 bar=$3 round
    shift 3
    local TIMEFORMAT='%R %U %S'
    : >"$work/times"
    for ((round = 0; round < rounds; round++)); do
        { time "${one_core[@]}" "$@" >"$work/out" 2>"$work/err"; } 2>>"$work/times" ||
            { cat "$work/err" >&2; exit 1; }
    done
    awk '{ print $1, $2 + $3 }' "$work/times" | sort -n | awk -v what="$what" -v bar="$bar" -v peak="$(peak "$@")" '
        { wall[NR] = $1; cpu[NR] = $2 }
        END {
            middle = int((NR + 1) / 2)
            sort_numbers(cpu, NR)
            printf "| %s | %.3f (%.3f–%.3f) | %.3f | %.0f | %s |\n",
                what, wall[middle], wall[1], wall[NR], cpu[middle], peak / 1024, bar
        }
        # mawk has no sort of its own.
        function sort_numbers(list, count,   i, j, held) {
            for (i = 2; i <= count; i++)
                for (j = i; j > 1 && list[j - 1] > list[j]; j--) {
                    held = list[j]; list[j] = list[j - 1]; list[j - 1] = held
                }
        }'
}

echo "| what | wall, s | CPU, s | peak, MiB | bar |"
echo "|---|---|---|---|---|"
row 20 'check of `config/quayctl.toml`' '0.020 s' "$binary" check -c config/quayctl.toml
row 5 'render, 5,000 nodes × 5 images' '3 s, 64 MiB' "$binary" render -c "$work/five.toml" --nodes "$work/nodes.yaml"
row 5 '… another text for each node' '3 s, 64 MiB' "$binary" render -c "$work/five-own.toml" --nodes "$work/nodes.yaml"
row 5 'check of 10,000 groups' '15 s' "$binary" check -c "$work/groups.toml"
row 5 '… with values, two templates each' '15 s' "$binary" check -c "$work/values.toml"
row 5 "… with values and a user's template" '15 s' "$binary" check -c "$work/own.toml"
