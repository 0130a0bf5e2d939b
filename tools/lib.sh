# Sourced by the set-up scripts: how they speak, fail, wait for each other and remember what is done.
# shellcheck shell=bash

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
TIMELOCK_HOME=${TIMELOCK_HOME:-/var/lib/timelock}
TIMELOCK_CACHE=${TIMELOCK_CACHE:-$TIMELOCK_HOME/cache}
SETUP=$ROOT/.cache/setup # logs and locks of this clone's set-up
MACHINE_CANNOT=8         # exit status, as in the README's table
export TIMELOCK_HOME TIMELOCK_CACHE

say() { printf 'setup: %s\n' "$*"; }

# fail WHAT FOUND NEXT: the one message of a failed set-up.
fail() {
    printf 'setup: %s: %s\n       %s\n' "$1" "$2" "$3" >&2
    exit "$MACHINE_CANNOT"
}

# logged NAME WHAT SECONDS COMMAND…: run with output in a log and within a limit; on failure say why in one message.
logged() {
    local what=$2 limit=$3 log=$SETUP/$1.log status=0 before
    shift 3
    mkdir -p "$SETUP" 2>/dev/null || fail "$what" "cannot write to $SETUP" "Give this user write access to it."
    printf '+ %s\n' "$*" >>"$log"
    before=$(wc -c <"$log")
    timeout --foreground -k 30 "$limit" "$@" >>"$log" 2>&1 </dev/null || status=$?
    [ "$status" -eq 0 ] || explain "$what" "$log" "$before" "$status" "$limit"
}

# explain WHAT LOG OFFSET STATUS LIMIT: turn what a command wrote from OFFSET on into a reason and a next step.
explain() {
    local what=$1 log=$2 tail last
    tail=$(tail -c "+$(($3 + 1))" "$log" | tail -n 40)
    last=$(grep -E '[[:alpha:]]' <<<"$tail" | tail -n 1 | sed 's/^ *//' | cut -c1-300)
    case $tail in
    *"Could not get lock"* | *"dpkg frontend lock"*)
        fail "$what" "$(grep -m1 -oE 'Could not get lock.*|.*dpkg frontend lock.*' <<<"$tail")" \
            "Another package tool is at work: wait until it has finished, then run the same command again." ;;
    *"No space left on device"* | *"not enough free space"* | *"don't have enough free space"*)
        fail "$what" "no space left on device" "Free some space (df -h), then run the same command again. Log: $log" ;;
    *"DO NOT MATCH THE HASHES"* | *"Hash mismatch"* | *"checksum mismatch"* | *"SECURITY ERROR"*)
        fail "$what" "what was fetched differs from what is pinned: $last" \
            "Do not go on: find out who changed it (mirror, proxy, or a stale lock file). Log: $log" ;;
    *"resolv"* | *"Failed to establish"* | *"etwork is unreachable"* | *"imed out"* | *"dial tcp"* | *"dns error"* | \
        *"error sending request"* | *"onnection refused"* | *"Failed to fetch"* | *"onnection reset"*)
        fail "$what" "the network does not answer: $last" \
            "Check that this machine reaches its package registries, then run the same command again. Log: $log" ;;
    esac
    [ "$4" -ne 124 ] || last="not done after $5 s"
    fail "$what" "$last" "The whole story is in $log"
}

# need_disk WHAT MEBIBYTES DIRECTORY
need_disk() {
    local place=$3 free
    while [ ! -d "$place" ]; do place=$(dirname "$place"); done
    free=$(df --output=avail -BM "$place" | tail -n 1 | tr -dc 0-9)
    [ "$free" -ge "$2" ] || fail "$1" "$2 MiB needed below $3, $free MiB free" "Free some space, or set TIMELOCK_CACHE to a larger disk."
}

# locked FILE SECONDS: hold FILE until this process ends, so that two never work on the same thing.
locked() {
    mkdir -p "$(dirname "$1")" 2>/dev/null || fail "set-up" "cannot write to $(dirname "$1")" "Run as root, or set TIMELOCK_CACHE to a directory of yours."
    exec {LOCK}>"$1" || fail "set-up" "cannot write to $1" "Run as root, or set TIMELOCK_CACHE to a directory of yours."
    flock -n "$LOCK" && return
    say "another set-up holds $1; waiting for it (at most $(($2 / 60)) min)"
    flock -w "$2" "$LOCK" || fail "set-up" "another set-up still holds $1 after $2 s" "See what it does: fuser -v $1"
}

# digest WORD… : one line that changes when a word does, or a file that a word names.
digest() {
    { printf '%s\n' "$@" && for word in "$@"; do [ ! -f "$word" ] || cat "$word"; done; } | sha256sum | cut -d' ' -f1
}
