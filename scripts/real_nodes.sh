# shellcheck shell=bash
# To be sourced: builds what real nodes need, once for the tests and the demo, and says where each is.

scripts/prerequisites.sh rust go image nodes
bed=$(tests/cluster/build.sh all) # the programs of the control plane, the nodes and the registry
old=$(scripts/old_containerd.sh) # containerd 1.x, which one of the nodes runs
programs=$(scripts/static.sh) # our own programs
image=$(scripts/image.sh) # our image's archive

# registry_control DIR: where the registry of the cluster in DIR takes commands.
registry_control() { sed -n 's/^  "registry": "\(.*\)",$/\1/p' "$1/state/bed.json"; }
