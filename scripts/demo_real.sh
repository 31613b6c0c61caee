#!/usr/bin/env bash
# The main job on real nodes: kubelets and containerd of both generations pull images from a registry that
# is started here, and a workload starts without it. Needs root. KEEP=1 keeps the cluster.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/real_nodes.sh

work=$(mktemp -d)
dir=$work/cluster
config=$work/quayctl.toml
if [[ "${KEEP:-}" == 1 ]]; then
    dir=$PWD/target/cluster/demo
    config=$PWD/target/cluster/demo-quayctl.toml
fi
end() {
    local code=$?
    trap - EXIT
    [[ "${KEEP:-}" == 1 ]] || "$bed/bed" down --dir "$dir" >&2 || true
    rm -rf "$work"
    exit "$code"
}
trap end EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

echo "starting a control plane, three nodes and a registry" >&2
"$bed/bed" up --dir "$dir" --nodes 0 --real-nodes 3 --old-runtime "$old" --namespace image-pulls >/dev/null
control=$(registry_control "$dir")
registry() { "$bed/registry" "$@" --control "$control"; }
host=$(registry face add demo | sed 's/.*"host":"\([^"]*\)".*/\1/')
registry push-archive "$image" quayctl-controller:demo >/dev/null
for what in "shop/checkout:3.2 40MB" "shop/catalog:1.9 15MB" "shop/prices:0.4 3MB"; do
    registry push "${what% *}" --size "${what#* }" --layers 3 \
        --file "/pause=$programs/pause" --entrypoint /pause >/dev/null
done
mkdir -p "$(dirname "$config")"
cat >"$config" <<TOML
[defaults]
carrier_image = "$host/quayctl-controller:demo"

[[groups]]
name = "shop"
images = ["$host/shop/checkout:3.2", "$host/shop/catalog:1.9", "$host/shop/prices:0.4"]
TOML
sed 's/^/  /' "$config" >&2

unset "${!QUAYCTL_@}" QUAY_IMAGES DEADLINE_SECONDS MY_POD_NAMESPACE
# Says what it runs.
shown() {
    local command
    printf -v command '%q ' "$@"
    echo "\$ ${command% }" >&2
    "$@"
}
export KUBECONFIG=$dir/kubeconfig
PATH="$dir/bin:$programs:$PATH"
code=0
shown quayctl-controller run --config "$config" || code=$?
echo "exit code $code" >&2

echo "the registry is stopped now; a pod of one of the images:" >&2
registry face stop demo >/dev/null
pod='{"spec":{"nodeName":"real-003","terminationGracePeriodSeconds":0,"securityContext":{"runAsNonRoot":true,"runAsUser":65532,"seccompProfile":{"type":"RuntimeDefault"}},"containers":[{"name":"checkout","image":"'$host'/shop/checkout:3.2","securityContext":{"allowPrivilegeEscalation":false,"capabilities":{"drop":["ALL"]}}}]}}'
kubectl run checkout --image="$host/shop/checkout:3.2" --image-pull-policy=IfNotPresent --overrides="$pod" >&2
kubectl wait --for=condition=Ready pod/checkout --timeout=60s >&2 || code=1
shown kubectl get events --field-selector involvedObject.name=checkout,reason=Pulled -o 'jsonpath={.items[*].message}{"\n"}'

if [[ "${KEEP:-}" == 1 ]]; then
    echo "the cluster is kept; look around with" >&2
    echo "  export KUBECONFIG=$dir/kubeconfig PATH=$dir/bin:$programs:$bed:\$PATH" >&2
    echo "  registry face start demo --control $control" >&2
    echo "  quayctl-controller plan --config $config" >&2
    echo "and end it with" >&2
    echo "  make cluster-down CLUSTER=demo" >&2
fi
exit "$code"
