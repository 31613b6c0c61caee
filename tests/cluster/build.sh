#!/usr/bin/env bash
# Builds the test bed's programs into the user's cache and prints the directory
# they are in, alone on standard output. What has not changed is not built again.
# Usage: build.sh [PROGRAM...]: without any, those of simulated nodes; `all` for
# real nodes too.
set -euo pipefail

go_minor_wanted=26
kubernetes=1.37.2
etcd=3.7.3
containerd=2.4.2
simulated=(kube etcd kubectl bed)
real=(node containerd containerd-shim-runc-v2 ctr sandbox registry)
programs=("${simulated[@]}" "${real[@]}")
unused_days=14 # after which a cached build is removed

say() { printf '%s\n' "$*" >&2; }
fail() {
  say "build.sh: $*"
  exit 1
}

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/quayctl-controller/bed

check_go() {
  command -v go >/dev/null ||
    fail "go is not installed, and the test bed is built with it; install Go 1.$go_minor_wanted or newer from https://go.dev/dl and put it on PATH"
  go_version=$(cd "$here" && go env GOVERSION)
  local minor=${go_version#go1.}
  minor=${minor%%[!0-9]*}
  [[ $go_version == go1.* && -n $minor && $minor -ge $go_minor_wanted ]] ||
    fail "go is $go_version, which is too old for Kubernetes $kubernetes; install Go 1.$go_minor_wanted or newer from https://go.dev/dl"
}

# Link flags of each program. Without a version Kubernetes calls itself
# v0.0.0-master, and clients that check for version skew take it at its word.
link_flags() {
  local base=k8s.io/component-base/version
  case $1 in
    kube | kubectl | node)
      printf '%s' "-s -w -X $base.gitVersion=v$kubernetes -X $base.gitMajor=1 -X $base.gitMinor=37" \
        " -X $base.gitTreeState=clean -X $base.gitCommit=v$kubernetes" \
        " -X k8s.io/client-go/pkg/version.gitVersion=v$kubernetes"
      ;;
    # Nodes report it, and by it image volumes are known to work.
    containerd*) printf '%s' "-s -w -X github.com/containerd/containerd/v2/version.Version=v$containerd" ;;
    *) printf '%s' '-s -w' ;;
  esac
}

# The folder of the module that a program is built in.
module_of() {
  case $1 in
    etcd | registry) echo "$1" ;;
    containerd* | ctr) echo containerd ;;
    *) echo . ;;
  esac
}

package_of() {
  case $1 in
    etcd | registry) echo . ;;
    containerd* | ctr) echo "github.com/containerd/containerd/v2/cmd/$1" ;;
    *) echo "./$1" ;;
  esac
}

# What the bed does not use would need C libraries.
tags_of() {
  case $1 in
    containerd* | ctr) echo no_btrfs,no_devmapper,no_zfs,no_aufs ;;
  esac
}

title_of() {
  case $1 in
    kube) echo "Kubernetes $kubernetes" ;;
    etcd) echo "etcd $etcd" ;;
    kubectl) echo "kubectl $kubernetes" ;;
    bed) echo "the bed itself" ;;
    node) echo "kubelet and kube-proxy $kubernetes" ;;
    containerd) echo "containerd $containerd" ;;
    containerd-shim-runc-v2) echo "containerd's shim" ;;
    ctr) echo "containerd's client" ;;
    sandbox) echo "the sandboxes' program" ;;
    registry) echo "the registry" ;;
  esac
}

# Names the files a program is made of, relative to this directory, so that the
# key is the same wherever the repository lies.
inputs_of() {
  local module
  module=$(module_of "$1")
  printf '%s\n' "$module/go.mod" "$module/go.sum"
  # Programs that are another module's have nothing here but its version.
  [[ -d $1 && $module != containerd ]] || return 0
  find "$1" -type f ! -name '*_test.go' ! -name go.mod ! -name go.sum
}

key_of() {
  (
    cd "$here"
    {
      printf '%s\n' "$go_version" "$(go_target)" "$1" "$(link_flags "$1")" "$(tags_of "$1")"
      ./go.sh env GOFLAGS CGO_ENABLED
      inputs_of "$1" | LC_ALL=C sort | xargs sha256sum
    } | sha256sum | cut -c1-16
  )
}

go_target() { printf '%s/%s' "${GOOS:-$(uname -s)}" "${GOARCH:-$(uname -m)}"; }

# One line for each package that a program is made of, those that a package
# imports before it: its share of the work in percent, its path, and what it
# imports. The share is half by number and half by size, which came closest.
weigh() { # weigh PROGRAM FILE
  local list=$2.list
  (cd "$here/$(module_of "$1")" &&
    "$here/go.sh" list -deps -tags "$(tags_of "$1")" -f '{{$p := .ImportPath}}{{$d := .Dir}}P {{$p}}{{range .Imports}} {{.}}{{end}}{{range .GoFiles}}{{"\n"}}F {{$p}} {{$d}}/{{.}}{{end}}' \
      "$(package_of "$1")") >"$list"
  # Names of files may have spaces; `wc` of several adds a total for each call.
  sed -n 's/^F [^ ]* //p' "$list" | tr '\n' '\0' | xargs -0 wc -c | grep -v ' total$' | awk '{ print $1 }' |
    awk '
      NR == FNR { size[NR] = $1; next }
      $1 == "F" { bytes[$2] += size[++files]; all += size[files]; next }
      { order[++count] = $2; sub(/^P /, ""); line[count] = $0 }
      END { for (k = 1; k <= count; k++) printf "%.4f %s\n", 50 * bytes[order[k]] / all + 50 / count, line[k] }
    ' - "$list" >"$2"
  rm -f "$list"
}

# How many percent of a build are done, from the names of packages that go prints
# as it comes to them. What they import is done by then, also where go has passed
# over it because its own cache has it. Linking is the rest.
percent_done() { # percent_done WEIGHTS LOG
  awk '
    NR == FNR { share[++count] = $1; path[count] = $2; line[count] = $0; next }
    NF == 1 { done[$1] = 1 }
    END {
      for (k = count; k > 0; k--) {
        if (!(path[k] in done)) continue
        sum += share[k]
        imports = split(line[k], word, " ")
        for (i = 3; i <= imports; i++) done[word[i]] = 1
      }
      print int(0.97 * sum)
    }' "$1" "$2"
}

# Tells how far a build is: on a terminal in one line that is rewritten, elsewhere
# now and then.
show_progress() {
  local title=$1 log=$2 weights=$3 began=$SECONDS every=20 percent spent left line
  [[ -t 2 ]] && every=2
  while sleep "$every"; do
    percent=$(percent_done "$weights" "$log")
    spent=$((SECONDS - began))
    line="building $title: $percent%"
    # At first there is nothing to judge by, and at last nothing to count.
    if ((percent >= 96)); then
      line+=", linking"
    elif ((percent >= 3 && spent >= 20)); then
      left=$((spent * (100 - percent) / percent))
      if ((left >= 90)); then line+=", about $(((left + 30) / 60)) min left"; else line+=", about $(((left + 9) / 10 * 10)) s left"; fi
    fi
    if [[ -t 2 ]]; then printf '\r%s\033[K' "$line" >&2; else say "$line"; fi
  done
}

build() {
  local program=$1 target=$2 title log fresh weights progress=
  title=$(title_of "$program")
  mkdir -p "$target"
  log=$target/build.log
  fresh=$target/$program.$$
  weights=$target/weights.$$
  say "building $title"
  : >"$log"
  weigh "$program" "$weights" 2>>"$log" ||
    fail "finding the packages of $title failed; all that go said is in $log"
  show_progress "$title" "$log" "$weights" &
  progress=$!
  # shellcheck disable=SC2064 # the values of now are meant
  trap "kill $progress 2>/dev/null; rm -f '$fresh' '$weights'" EXIT
  local began=$SECONDS
  if ! (
    cd "$here/$(module_of "$program")"
    "$here/go.sh" build -v -tags "$(tags_of "$program")" -ldflags "$(link_flags "$program")" -o "$fresh" "$(package_of "$program")"
  ) >>"$log" 2>&1; then
    [[ -t 2 ]] && say ""
    grep -v '^[a-zA-Z0-9./_~-]*$' "$log" | tail -n 20 >&2 || true
    fail "building $title failed; all that go said is in $log"
  fi
  kill "$progress" 2>/dev/null || true
  wait "$progress" 2>/dev/null || true
  trap - EXIT
  rm -f "$weights"
  [[ -t 2 ]] && printf '\r\033[K' >&2
  mv "$fresh" "$target/$program"
  say "built $title in $((SECONDS - began)) s"
}

# Builds one program unless its key is there. The lock makes a second caller
# wait for the first instead of doing the work twice.
ensure() {
  local program=$1 target=$cache/$program-$2
  [[ -x $target/$program ]] && return
  mkdir -p "$cache"
  (
    flock 9
    [[ -x $target/$program ]] || build "$program" "$target"
  ) 9>"$cache/$program.lock"
}

# Puts the programs side by side under the names they are called by. They are
# hard links: a running program then finds its neighbours by its own path.
assemble() {
  local target=$1 fresh=$1.$$ program
  shift
  rm -rf "$fresh"
  mkdir -p "$fresh"
  for program in "$@"; do
    ln "$cache/$program" "$fresh/${program##*/}"
  done
  if [[ -e $fresh/kube ]]; then
    for program in kube-apiserver kube-controller-manager kube-scheduler; do
      ln -s kube "$fresh/$program"
    done
  fi
  if [[ -e $fresh/node ]]; then
    for program in kubelet kube-proxy; do
      ln -s node "$fresh/$program"
    done
  fi
  # Another caller may have been faster; its directory is the same.
  mv -T "$fresh" "$target" 2>/dev/null || rm -rf "$fresh"
  [[ -d $target ]] || fail "could not put the programs together in $target"
}

# Removes builds nobody has asked for in a while; those of simulated nodes are 260 MB, all are 560.
prune() {
  find "$cache" -mindepth 1 -maxdepth 1 -type d -mtime +"$unused_days" -exec rm -rf {} +
}

main() {
  check_go
  local program key keys='' parts=()
  (($#)) || set -- "${simulated[@]}"
  [[ $* != all ]] || set -- "${programs[@]}"
  for program in "$@"; do
    [[ " ${programs[*]} " == *" $program "* ]] || fail "$program is not a program of the test bed; use: ${programs[*]}"
  done
  for program in "$@"; do
    key=$(key_of "$program")
    keys+=$key
    parts+=("$program-$key/$program")
    ensure "$program" "$key"
    touch "$cache/$program-$key"
  done
  local all
  all=$cache/$(printf '%s' "$keys" | sha256sum | cut -c1-16)
  if [[ ! -d $all ]]; then
    assemble "$all" "${parts[@]}"
    prune
  fi
  touch "$all"
  printf '%s\n' "$all"
}

main "$@"
