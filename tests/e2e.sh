#!/usr/bin/env bash
# The controller on real nodes: three with kubelet, containerd and runc, the last with containerd 1.x, and
# registries to pull from. Needs root. Whatever follows is handed to the tests: names, or -- --nocapture.
# KEEP=1 uses a cluster that stays, and makes it where there is none.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/real_nodes.sh
source scripts/cache.sh

export QUAYCTL_TEST_BED=$bed QUAYCTL_TEST_PROGRAMS=$programs QUAYCTL_TEST_IMAGE=$PWD/$image
flags=(--nodes 2 --mode open --real-nodes 3 --old-runtime "$old" --verify-pulls --on-component-end restart --restart-after 3s)
export QUAYCTL_TEST_SITE_FLAGS="${flags[*]}"

if [[ "${KEEP:-}" == 1 ]]; then
    export QUAYCTL_TEST_SITE=$PWD/target/cluster/e2e
    # That none is running is no error of `status`.
    [[ "$("$bed/bed" status --dir "$QUAYCTL_TEST_SITE" 2>/dev/null)" == server* ]] ||
        "$bed/bed" up --dir "$QUAYCTL_TEST_SITE" "${flags[@]}" >/dev/null
    said() {
        echo "the cluster is kept; look around with" >&2
        echo "  export KUBECONFIG=$QUAYCTL_TEST_SITE/kubeconfig PATH=$QUAYCTL_TEST_SITE/bin:$bed:\$PATH" >&2
        echo "  kubectl get nodes -o wide" >&2
        echo "  registry face list --control $(registry_control "$QUAYCTL_TEST_SITE")" >&2
        echo "and end it with" >&2
        echo "  make cluster-down CLUSTER=e2e" >&2
    }
    trap said EXIT
fi
# Pulls wait for each other on a node, and a node has two processors at most here.
cargo test --locked --test e2e "$@" -- --test-threads "${E2E_THREADS:-4}"
