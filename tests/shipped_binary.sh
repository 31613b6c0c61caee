#!/usr/bin/env bash
# Prints the path of the binary that is measured: what is shipped, where it can be built.
set -euo pipefail
cd "$(dirname "$0")/.."
if tests/prerequisites.sh image 2>/dev/null; then
    echo "$(tests/static.sh)/quayctl-controller"
else
    tests/binary.sh
fi
