#!/usr/bin/env bash
# Builds the test bed's programs into the user's cache and prints the directory
# they are in, alone on standard output. What has not changed is not built again.
set -euo pipefail

go_minor_wanted=26
kubernetes=1.37.2
etcd=3.7.3
kwok=0.8.0
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
    kube)
      printf '%s' "-s -w -X $base.gitVersion=v$kubernetes -X $base.gitMajor=1 -X $base.gitMinor=37" \
        " -X $base.gitTreeState=clean -X $base.gitCommit=v$kubernetes" \
        " -X k8s.io/client-go/pkg/version.gitVersion=v$kubernetes"
      ;;
    *) printf '%s' '-s -w' ;;
  esac
}

module_of() {
  case $1 in
    kube | bed) echo . ;;
    *) echo "$1" ;;
  esac
}

package_of() {
  case $1 in
    kube | bed) echo "./$1" ;;
    etcd) echo . ;;
    kwok) echo sigs.k8s.io/kwok/cmd/kwok ;;
  esac
}

title_of() {
  case $1 in
    kube) echo "Kubernetes $kubernetes" ;;
    etcd) echo "etcd $etcd" ;;
    kwok) echo "kwok $kwok" ;;
    bed) echo "the bed itself" ;;
  esac
}

# Names the files a program is made of, relative to this directory, so that the
# key is the same wherever the repository lies.
inputs_of() {
  local module
  module=$(module_of "$1")
  printf '%s\n' "$module/go.mod" "$module/go.sum"
  [[ $1 == kwok ]] || find "$1" -type f ! -name '*_test.go' ! -name go.mod ! -name go.sum
}

key_of() {
  (
    cd "$here"
    {
      printf '%s\n' "$go_version" "$(go_target)" "$1" "$(link_flags "$1")"
      inputs_of "$1" | LC_ALL=C sort | xargs sha256sum
    } | sha256sum | cut -c1-16
  )
}

go_target() { printf '%s/%s' "${GOOS:-$(uname -s)}" "${GOARCH:-$(uname -m)}"; }

# Tells how far a build is, from the package names go prints: on a terminal in
# one line that is rewritten, elsewhere now and then.
show_progress() {
  local title=$1 log=$2 most=$3 began=$SECONDS every=15 count spent
  [[ -t 2 ]] && every=1
  while sleep "$every"; do
    count=$(grep -c '^[^ #]*$' "$log" || true)
    spent=$((SECONDS - began))
    local line="building $title: $count of at most $most packages compiled, $((spent / 60))m$((spent % 60))s"
    if [[ -t 2 ]]; then printf '\r%s\033[K' "$line" >&2; else say "$line"; fi
  done
}

build() {
  local program=$1 target=$2 title log fresh most progress=
  title=$(title_of "$program")
  mkdir -p "$target"
  log=$target/build.log
  fresh=$target/$program.$$
  say "building $title"
  : >"$log"
  # Those that are in go's own cache already are not compiled again.
  most=$(cd "$here/$(module_of "$program")" && go list -deps "$(package_of "$program")" 2>>"$log" | wc -l) ||
    fail "finding the packages of $title failed; all that go said is in $log"
  show_progress "$title" "$log" "$most" &
  progress=$!
  # shellcheck disable=SC2064 # the values of now are meant
  trap "kill $progress 2>/dev/null; rm -f '$fresh'" EXIT
  local began=$SECONDS
  if ! (
    cd "$here/$(module_of "$program")"
    CGO_ENABLED=0 go build -v -mod=readonly -trimpath -ldflags "$(link_flags "$program")" \
      -o "$fresh" "$(package_of "$program")"
  ) >>"$log" 2>&1; then
    [[ -t 2 ]] && say ""
    grep -v '^[a-zA-Z0-9./_~-]*$' "$log" | tail -n 20 >&2 || true
    fail "building $title failed; all that go said is in $log"
  fi
  kill "$progress" 2>/dev/null || true
  wait "$progress" 2>/dev/null || true
  trap - EXIT
  [[ -t 2 ]] && printf '\r\033[K' >&2
  mv "$fresh" "$target/$program"
  say "built $title in $((SECONDS - began))s"
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
  for program in kube-apiserver kube-controller-manager kube-scheduler kubectl; do
    ln -s kube "$fresh/$program"
  done
  # Another caller may have been faster; its directory is the same.
  mv -T "$fresh" "$target" 2>/dev/null || rm -rf "$fresh"
  [[ -x $target/bed ]] || fail "could not put the programs together in $target"
}

# Removes builds nobody has asked for in a while; each set is 260 MB.
prune() {
  find "$cache" -mindepth 1 -maxdepth 1 -type d -mtime +"$unused_days" -exec rm -rf {} +
}

main() {
  check_go
  local program key keys='' parts=()
  for program in kube etcd kwok bed; do
    key=$(key_of "$program")
    keys+=$key
    parts+=("$program-$key/$program")
    ensure "$program" "$key"
    touch "$cache/$program-$key"
  done
  local all
  all=$cache/$(printf '%s' "$keys" | sha256sum | cut -c1-16)
  if [[ ! -x $all/bed ]]; then
    assemble "$all" "${parts[@]}"
    prune
  fi
  touch "$all"
  printf '%s\n' "$all"
}

main "$@"
