#!/usr/bin/env bash
# Prints the path of the binary that is measured: what is shipped, where it can be built.
set -euo pipefail
cd "$(dirname "$0")/.."
if scripts/prerequisites.sh image 2>/dev/null; then
    echo "$(scripts/static.sh)/quayctl-controller"
else
    scripts/binary.sh
fi
