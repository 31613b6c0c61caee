#!/usr/bin/env bash
# The main job on a real control plane that is started here and ended again: 25 simulated nodes, of
# which one is cordoned, one not ready and one tainted. KEEP=1 keeps the cluster.
set -euo pipefail
cd "$(dirname "$0")/.."
tests/prerequisites.sh rust go
bed=$(tests/cluster/build.sh)
binary=$(tests/binary.sh)

nodes=(--nodes 25 --cordoned 1 --not-ready 1 --tainted 1 --old 5)
if [[ "${KEEP:-}" == 1 ]]; then
    dir=target/cluster/demo
else
    dir=$(mktemp -d)
fi
end() {
    local code=$?
    trap - EXIT
    [[ "${KEEP:-}" == 1 ]] || {
        "$bed/bed" down --dir "$dir" >&2 || true
        rmdir "$dir" 2>/dev/null || true
    }
    exit "$code"
}
trap end EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

echo "starting a control plane with 25 simulated nodes" >&2
"$bed/bed" up --dir "$dir" "${nodes[@]}" >/dev/null
export KUBECONFIG="$dir/kubeconfig"
"$dir/bin/kubectl" create namespace image-pulls >/dev/null
"$dir/bin/kubectl" label namespace image-pulls pod-security.kubernetes.io/enforce=restricted >/dev/null

echo "\$ quayctl-controller run --config config/quayctl.toml" >&2
code=0
QUAYCTL_CARRIER_IMAGE=quayctl-controller:demo \
    "$binary" run --config config/quayctl.toml --kubeconfig "$KUBECONFIG" || code=$?
echo "exit code $code" >&2

if [[ "${KEEP:-}" == 1 ]]; then
    echo "the cluster is kept; look around with" >&2
    echo "  export KUBECONFIG=$PWD/$dir/kubeconfig PATH=$PWD/$dir/bin:\$PATH" >&2
    echo "  kubectl get jobs -n image-pulls" >&2
    echo "and end it with" >&2
    echo "  make cluster-down CLUSTER=demo" >&2
fi
exit "$code"
