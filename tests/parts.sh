# shellcheck shell=bash
# To be sourced: runs the parts of a long test one after another, also after one that failed.

parts_run=()
parts_failed=()
parts_skipped=()
parts_log=$(mktemp -d) # below TMPDIR, which the caller clears away

# What runners print at their end: cargo test, go test, and tests/checks.sh.
closing_lines='^(test result: |(ok|FAIL)[[:blank:]]+[^:[:blank:]]+[[:blank:]]+|[0-9]+ passed, [0-9]+ failed$)'

# part NAME COMMAND...: its output goes where it would go anyway, and what its runner says at the end is
# kept for `parts_end`.
part() {
    local name=$1 code
    shift
    echo "make test: $name" >&2
    parts_run+=("$name")
    set +e
    # A subshell of its own, so that a command that fails within it ends the part and nothing else.
    (
        set -e
        "$@"
    ) | tee "$parts_log/part"
    code=${PIPESTATUS[0]}
    set -e
    ((code == 0)) || parts_failed+=("$name (exit code $code)")
    grep -E "$closing_lines" "$parts_log/part" >>"$parts_log/closing" || true
}

# part_skipped NAME WHY: what this machine cannot do is seen now and counted at the end.
part_skipped() {
    echo "make test: $1: skipped: $2" >&2
    parts_skipped+=("$1")
}

# Says which parts were skipped and which failed, and then again what each runner said at its end, which is far up by now.
# Fails where a part has.
parts_end() {
    local failed skipped
    if ((${#parts_skipped[@]})); then
        printf -v skipped '%s, ' "${parts_skipped[@]}"
        echo "make test: skipped: ${#parts_skipped[@]} of $((${#parts_skipped[@]} + ${#parts_run[@]})) parts: ${skipped%, }" >&2
    fi
    if ((${#parts_failed[@]})); then
        printf -v failed '%s, ' "${parts_failed[@]}"
        echo "make test: ${#parts_failed[@]} of ${#parts_run[@]} parts failed: ${failed%, }" >&2
    fi
    cat "$parts_log/closing" 2>/dev/null || true
    rm -rf "$parts_log"
    ((${#parts_failed[@]} == 0))
}
