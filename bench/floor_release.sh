#!/usr/bin/env bash
# The floor of `timelock release`: takes off the hosts what floor.sh put there, over the connections that it left open.
#
#   floor_release.sh DIR     the same DIR and environment
set -euo pipefail
DIR=$1
# shellcheck source=bench/floor_host.sh
. "$(dirname "$0")/floor_host.sh"

clear_host() { # NAME
  over "$1" host_clear
  ssh -F none -S "$DIR/ssh/$1" -O exit "$1" 2>/dev/null
}

jobs=()
while read -r name _; do
  clear_host "$name" </dev/null &
  jobs+=($!)
done <"$DIR/hosts"
for job in "${jobs[@]}"; do wait "$job"; done
