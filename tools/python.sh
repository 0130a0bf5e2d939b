#!/usr/bin/env bash
# Makes .venv equal to requirements.lock (every file checked against its hash), with this clone in it.
# usage: tools/python.sh       PYTHON=/path/to/python3 chooses the interpreter
set -euo pipefail
# shellcheck source=tools/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$ROOT"

WHAT="Python environment"
VENV=$ROOT/.venv
STAMP=$VENV/.timelock-setup
PYTHON=${PYTHON:-/usr/bin/python3}
export PIP_DISABLE_PIP_VERSION_CHECK=1 UV_SYSTEM_CERTS=${UV_SYSTEM_CERTS:-1}
[ -z "${PIP_INDEX_URL:-}" ] || export UV_DEFAULT_INDEX=${UV_DEFAULT_INDEX:-$PIP_INDEX_URL}

main() {
    local wanted
    wanted=$(digest "$ROOT" "$PYTHON" "$(sed '/^\[tool.pytest/,$d' pyproject.toml)" requirements.lock tools/{bootstrap.txt,python.sh})
    if [ -x "$VENV/bin/python" ] && [ "$(cat "$STAMP" 2>/dev/null)" = "$wanted" ]; then return 0; fi
    check_python
    say "Python environment in .venv (first time: about a minute)"
    need_disk "$WHAT" 1500 "$ROOT"
    make_venv
    fill_venv
    printf '%s\n' "$wanted" >"$STAMP"
}

check_python() {
    [ -x "$PYTHON" ] || tools/apt.sh python3 python3-venv ca-certificates
    "$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null ||
        fail "$WHAT" "Python 3.11 or newer needed, $PYTHON is $("$PYTHON" -V 2>&1)" "Name one with PYTHON=/path/to/python3."
    [ "$PYTHON" != /usr/bin/python3 ] || "$PYTHON" -c 'import ensurepip' 2>/dev/null || tools/apt.sh python3-venv
}

# An environment of another interpreter, or moved here from elsewhere, is made anew.
make_venv() {
    local base
    base=$("$PYTHON" -c 'import sys; print(sys.version_info[:2], sys.base_prefix)')
    if [ "$("$VENV/bin/python" -c 'import sys; print(sys.version_info[:2], sys.base_prefix)' 2>/dev/null)" = "$base" ] &&
        grep -qF "$VENV/bin/python" "$VENV/bin/pip" 2>/dev/null; then return 0; fi
    rm -rf "$VENV"
    logged python "$WHAT" 120 "$PYTHON" -m venv "$VENV"
}

fill_venv() {
    local pip=("$VENV/bin/python" -m pip install -q --require-hashes --no-deps) uv=("$VENV/bin/uv" pip)
    cmp -s tools/bootstrap.txt "$VENV/.bootstrap" || logged python "$WHAT" 300 "${pip[@]}" -r tools/bootstrap.txt
    cp tools/bootstrap.txt "$VENV/.bootstrap"
    export VIRTUAL_ENV=$VENV
    logged python "$WHAT" 900 "${uv[@]}" sync -q --require-hashes --compile-bytecode requirements.lock
    logged python "$WHAT" 120 "${uv[@]}" install -q --no-deps --no-build-isolation --offline --editable .
}

main "$@"
