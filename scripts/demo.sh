#!/usr/bin/env bash
# The main job on a real control plane that is started here and ended again: 25 simulated nodes, of
# which one is cordoned, one not ready and one tainted. KEEP=1 keeps the cluster, with a kubectl to look
# around in it.
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/prerequisites.sh rust go

programs=(kube etcd bed)
[[ "${KEEP:-}" != 1 ]] || programs=(kube etcd kubectl bed)
nodes=(--nodes 25 --cordoned 1 --not-ready 1 --tainted 1 --namespace image-pulls)

work=$(mktemp -d)
dir=$work/cluster
[[ "${KEEP:-}" != 1 ]] || dir=target/cluster/demo
bed=
cargo=
end() {
    local code=$?
    trap - EXIT
    # A group of its own, so with the compilers that it has started.
    [[ -z "$cargo" ]] || kill -- "-$cargo" 2>/dev/null || true
    [[ -z "$bed" || "${KEEP:-}" == 1 ]] || "$bed/bed" down --dir "$dir" >&2 || true
    rm -rf "$work"
    exit "$code"
}
trap end EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# The controller beside the control plane: neither build keeps two processors busy all the time.
set -m
scripts/binary.sh dev >"$work/binary" 2>"$work/cargo.log" &
cargo=$!
set +m
bed=$(tests/cluster/build.sh "${programs[@]}")
kill -0 "$cargo" 2>/dev/null && grep -q building "$work/cargo.log" && echo "building quayctl-controller: the rest" >&2
wait "$cargo" || {
    cat "$work/cargo.log" >&2
    exit 1
}
cargo=
binary=$(<"$work/binary")

echo "starting a control plane with 25 simulated nodes" >&2
"$bed/bed" up --dir "$dir" "${nodes[@]}" >/dev/null

# What is printed is what is run: nothing else of the environment speaks for the controller.
unset "${!QUAYCTL_@}" QUAY_IMAGES DEADLINE_SECONDS MY_POD_NAMESPACE
command=(env KUBECONFIG="$PWD/$dir/kubeconfig" "$binary" run --config config/quayctl.toml)
[[ "$dir" == /* ]] && command[1]="KUBECONFIG=$dir/kubeconfig"
printf -v shown '%q ' "${command[@]:1}"
echo "\$ ${shown% }" >&2
code=0
"${command[@]}" || code=$?
echo "exit code $code" >&2

if [[ "${KEEP:-}" == 1 ]]; then
    echo "the cluster is kept; look around with" >&2
    echo "  export KUBECONFIG=$PWD/$dir/kubeconfig PATH=$PWD/$dir/bin:${binary%/*}:\$PATH" >&2
    echo "  kubectl get jobs" >&2
    echo "  quayctl-controller plan --config config/quayctl.toml" >&2
    echo "and end it with" >&2
    echo "  make cluster-down CLUSTER=demo" >&2
fi
exit "$code"
