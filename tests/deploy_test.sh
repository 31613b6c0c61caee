#!/usr/bin/env bash
# Applies deploy/ to a real control plane, and runs the controller there with nothing but the rights
# that deploy/ gives it. QUAYCTL_BINARY names the controller; without it the release one is built.
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/prerequisites.sh rust go
source tests/checks.sh
bed=${QUAYCTL_TEST_BED:-$(tests/cluster/build.sh)}
binary=${QUAYCTL_BINARY:-$(scripts/binary.sh)}

work=$(mktemp -d)
end() {
    local code=$?
    trap - EXIT
    "$bed/bed" down --dir "$work/bed" >&2 || true
    rm -rf "$work"
    exit "$code"
}
trap end EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

"$bed/bed" up --dir "$work/bed" --nodes 3 --old 1 >/dev/null
export KUBECONFIG="$work/bed/kubeconfig"
PATH="$work/bed/bin:$PATH"
namespace=image-pulls
account=system:serviceaccount:$namespace:quayctl-controller

quietly() { # quietly COMMAND...: it works, and the API server has nothing to say about it
    local said
    said=$("$@" 2>&1) && ! grep -i warning <<<"$said" || { echo "$said"; return 1; }
}
check "it is accepted without a warning" quietly kubectl apply -k deploy
unchanged() { ! kubectl apply -k deploy | grep -v ' unchanged$'; }
check "applied again, nothing changes" unchanged
check "its ConfigMap is config/quayctl.toml" same "$(cat config/quayctl.toml)" \
    "$(kubectl get configmap quayctl-config -n "$namespace" -o 'jsonpath={.data.quayctl\.toml}')"

job_from() { kubectl create job "$@" --from=cronjob/quayctl-controller -n "$namespace"; }
check "a Job from the CronJob passes a server-side dry run" quietly job_from tried --dry-run=server
spec=$(kubectl get cronjob quayctl-controller -n "$namespace" -o 'jsonpath={.spec.jobTemplate.spec.template.spec}')
pod() { # pod SPEC
    printf '{"apiVersion":"v1","kind":"Pod","metadata":{"name":"tried","namespace":"%s"},"spec":%s}' \
        "$namespace" "$1" | kubectl create --dry-run=server -f -
}
check "its pod passes Pod Security restricted" quietly pod "$spec"
refused() { ! pod "${spec/\"allowPrivilegeEscalation\":false/\"allowPrivilegeEscalation\":true}" && pod "$spec"; }
check "which refuses a pod that asks for more" refused

check "a Job from the CronJob completes" quietly job_from once
completes() { kubectl wait --for=condition=Complete job/once -n "$namespace" --timeout=60s; }
check "and its pod has run" completes
check "the label that QUAYCTL_RUN_ID is read from is the Job's uid" same \
    "$(kubectl get job once -n "$namespace" -o 'jsonpath={.metadata.uid}')" \
    "$(kubectl get pods -n "$namespace" -l job-name=once -o 'jsonpath={.items[0].metadata.labels.batch\.kubernetes\.io/controller-uid}')"

may() { # may yes|no VERB RESOURCE FLAGS...
    local wanted=$1
    shift
    same "$wanted" "$(kubectl auth can-i "$@" --as="$account" 2>/dev/null || true)"
}
while read -r wanted verb resource flags; do
    # shellcheck disable=SC2086 # no flags are no argument
    check "may it $verb $resource${flags:+ $flags}: $wanted" may "$wanted" "$verb" "$resource" $flags </dev/null
done <<EOF2
yes list nodes
yes get nodes
no watch nodes
yes create jobs -n $namespace
yes get jobs -n $namespace
yes patch jobs -n $namespace
no delete jobs -n $namespace
no update jobs -n $namespace
no create jobs -n default
yes watch pods -n $namespace
no create pods -n $namespace
no get pods/log -n $namespace
yes watch events -n $namespace
no get secrets -n $namespace
no get configmaps -n $namespace
EOF2

# The run itself, as the pod would do it: the account's token, the pod's environment, nothing else.
cp "$KUBECONFIG" "$work/kubeconfig"
kubectl config set-credentials controller --kubeconfig "$work/kubeconfig" \
    --token="$(kubectl create token quayctl-controller -n "$namespace")" >/dev/null
kubectl config set-context --current --user=controller --kubeconfig "$work/kubeconfig" >/dev/null
image=$(kubectl get cronjob quayctl-controller -n "$namespace" \
    -o 'jsonpath={.spec.jobTemplate.spec.template.spec.containers[0].env[?(@.name=="QUAYCTL_CARRIER_IMAGE")].value}')
as_deployed() {
    QUAYCTL_CARRIER_IMAGE=$image QUAYCTL_RUN_ID=deploy-test MY_POD_NAMESPACE=$namespace \
        "$binary" run --config config/quayctl.toml --kubeconfig "$work/kubeconfig"
}
check "a run with that account's rights succeeds" as_deployed
check "and has made a Job for each node" same 3 \
    "$(kubectl get jobs -n "$namespace" -l quayctl-controller/group=logging -o name | wc -l)"

# The Deployment stands beside the CronJob, in a namespace of its own.
namespace=image-pulls-serve
account=system:serviceaccount:$namespace:quayctl-controller
check "deploy/serve is accepted without a warning" quietly kubectl apply -k deploy/serve
for folder in deploy/serve deploy/serve-ha; do
    check "$folder passes a server-side dry run" quietly kubectl apply --dry-run=server --validate=strict -k "$folder"
done
unchanged_serve() { ! kubectl apply -k deploy/serve | grep -v ' unchanged$'; }
check "applied again, nothing changes" unchanged_serve
spec=$(kubectl get deployment quayctl-controller -n "$namespace" -o 'jsonpath={.spec.template.spec}')
check "its pod passes Pod Security restricted" quietly pod "$spec"
check "which refuses a pod that asks for more" refused
# The kubelets are simulated: this is about admission and scheduling, no process runs.
rolled_out() { kubectl rollout status deployment/quayctl-controller -n "$namespace" --timeout=60s; }
check "a pod of it is made and rolled out" rolled_out
selector=$(kubectl get service quayctl-controller -n "$namespace" -o json |
    sed -n '/"selector": {/,/}/s/^ *"\(.*\)": "\(.*\)",\{0,1\}$/\1=\2/p' | paste -sd,)
check "its Service selects that pod and no other" same 1 \
    "$(kubectl get pods -n "$namespace" -l "$selector" -o name | wc -l)"
check "and its address is known to the Service" same metrics \
    "$(kubectl get endpointslices -n "$namespace" -l kubernetes.io/service-name=quayctl-controller -o 'jsonpath={.items[*].ports[*].name}')"
serve_rights() { # a line each: yes|no VERB RESOURCE FLAGS
    local wanted verb resource flags
    while read -r wanted verb resource flags; do
        # shellcheck disable=SC2086 # no flags are no argument
        check "may serve $verb $resource${flags:+ $flags}: $wanted" may "$wanted" "$verb" "$resource" $flags </dev/null
    done
}
serve_rights <<EOF2
yes list nodes
yes watch nodes
no patch nodes
yes create jobs -n $namespace
yes patch jobs -n $namespace
no delete jobs -n $namespace
yes watch pods -n $namespace
no create pods -n $namespace
yes watch events -n $namespace
yes create events.events.k8s.io -n $namespace
yes patch events.events.k8s.io -n $namespace
no create events.events.k8s.io -n default
no create leases.coordination.k8s.io -n $namespace
no get secrets -n $namespace
no get configmaps -n $namespace
EOF2
check "the rights for leases are accepted" quietly kubectl apply -f deploy/serve/rbac-leases.yaml
check "the rights to patch nodes are accepted" quietly kubectl apply -f deploy/serve/rbac-nodes-patch.yaml
serve_rights <<EOF2
yes create leases.coordination.k8s.io -n $namespace
yes patch leases.coordination.k8s.io/quayctl-controller-default -n $namespace
no patch leases.coordination.k8s.io/another -n $namespace
no delete leases.coordination.k8s.io/quayctl-controller-default -n $namespace
no get leases.coordination.k8s.io/quayctl-controller-default -n kube-system
yes patch nodes
no update nodes
no delete nodes
EOF2

check "deploy/serve-ha is accepted without a warning" quietly kubectl apply -k deploy/serve-ha
check "its pods are made and rolled out" rolled_out
check "and there are two" same 2 "$(kubectl get pods -n "$namespace" -l "$selector" -o name | wc -l)"

# Those that are there, by kind, namespace and name.
objects() { # objects FOLDER
    kubectl get -k "$1" --ignore-not-found -o go-template='{{range .items}}{{.kind}}/{{.metadata.namespace}}/{{.metadata.name}}
{{end}}' | sort
}
check "deploy/ and deploy/serve have no object in common" same "" \
    "$(comm -12 <(objects deploy) <(objects deploy/serve))"
deploy_serve=$(objects deploy/serve)
found() { grep -q '^Namespace/.*/image-pulls-serve$' <<<"$deploy_serve" && (($(wc -l <<<"$deploy_serve") >= 10)); }
check "and deploy/serve has ten or more of its own" found
check "deploy/ can be uninstalled" kubectl delete -k deploy --timeout=120s
check "which leaves all of deploy/serve" same "$deploy_serve" "$(objects deploy/serve)"
gone() { ! kubectl get namespace image-pulls 2>/dev/null; }
check "and nothing of its own namespace" gone
check "deploy/ can be applied again" quietly kubectl apply -k deploy
deploy=$(objects deploy)
check "deploy/serve can be uninstalled" kubectl delete -k deploy/serve --timeout=120s
check "which leaves all of deploy/" same "$deploy" "$(objects deploy)"

# The overlay of docs/serve.md: one's own config, under the name that the pod mounts.
kubectl apply -k deploy/serve >/dev/null
mkdir -p "$work/vendor/quayctl-controller" "$work/clusters/prod/image-pulls"
cp -R config deploy "$work/vendor/quayctl-controller"
echo "# mine" >"$work/clusters/prod/image-pulls/quayctl.toml"
sed -n '/^# clusters\/prod/,/^```/{/^```/!p}' docs/serve.md >"$work/clusters/prod/image-pulls/kustomization.yaml"
kubectl kustomize "$work/clusters/prod/image-pulls" >"$work/overlay.yaml"
check "the overlay of docs/serve.md is accepted" quietly kubectl apply --dry-run=server -f "$work/overlay.yaml"
check "it has one ConfigMap, with its own file" same "# mine" \
    "$(sed -n 's/^    \(# mine\)$/\1/p' "$work/overlay.yaml")"

# A mirror is one line in kustomization.yaml.
cp -R config deploy "$work"
for folder in deploy deploy/serve; do
    sed -i 's|^    newTag: .*|    newName: registry.example.com/mirror\n    newTag: "9.9"|' "$work/$folder/kustomization.yaml"
done
for folder in deploy deploy/serve deploy/serve-ha; do
    check "another image is the carrier as well in $folder" same $'registry.example.com/mirror:9.9\nregistry.example.com/mirror:9.9' \
        "$(kubectl kustomize "$work/$folder" | grep -o 'registry.example.com/mirror:.*')"
done
check "the image is of this version" same \
    "registry.example.com/quayctl-controller:$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml)" "$image"
check "that of deploy/serve too" same "$image" \
    "$(kubectl get deployment quayctl-controller -n "$namespace" -o 'jsonpath={.spec.template.spec.containers[0].image}')"

summary
