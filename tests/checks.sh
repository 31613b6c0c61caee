# To be sourced: runs checks, goes on after one that failed, and counts them.

passed=0
failed=0

# check WHAT COMMAND...: passes when the command does; what it printed is shown when it does not.
check() {
    local what=$1 said
    shift
    if said=$("$@" 2>&1); then
        passed=$((passed + 1))
        echo "ok: $what"
    else
        failed=$((failed + 1))
        echo "FAILED: $what"
        [[ -z "$said" ]] || sed 's/^/    /' <<<"$said"
    fi
}

# same EXPECTED FOUND: no difference, or the difference.
same() { diff <(printf '%s\n' "$1") <(printf '%s\n' "$2"); }

# exits CODE COMMAND...: the command ends with this exit code.
exits() {
    local wanted=$1 code=0
    shift
    "$@" || code=$?
    [[ "$code" == "$wanted" ]] || {
        echo "exit code $code, not $wanted"
        return 1
    }
}

# The last line of a test; fails when a check has.
summary() {
    echo "$passed passed, $failed failed"
    ((failed == 0))
}
