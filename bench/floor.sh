#!/usr/bin/env bash
# The floor of `timelock book`: the same cluster, by a script of somebody who knows this one case by heart. It observes
# nothing, records nothing, repairs nothing and gives up at the first fault; one background job and one SSH connection a
# host. What it leaves on the hosts bears the same names, so that bench/state.sh can compare the two.
#
#   floor.sh DIR     DIR/hosts: lines NAME ADDRESS INDEX CPUS MEMORY_BYTES GPU-UUID,…; the first is Ray's head
#   Environment: BOOKING; KEY, KNOWN_HOSTS (of SSH); REGISTRY, CA (its file); IMAGE, PAUSE (by digest); MANAGEMENT
#   (networks); DRIVER (the script that holds every GPU slot at once)
#
# Marks go to DIR/marks: EPOCH_SECONDS HOST STEP. DIR/ssh keeps the connections for floor_release.sh.
set -euo pipefail
DIR=$1
# shellcheck source=bench/floor_host.sh
. "$(dirname "$0")/floor_host.sh"
mkdir -p "$DIR/ssh"
rm -f "$DIR"/*.public "$DIR/head" "$DIR/failed"
: >"$DIR/marks"

mark() { echo "$EPOCHREALTIME $1 $2" >>"$DIR/marks"; }

connect() {
  ssh -F none -i "$KEY" -o UserKnownHostsFile="$KNOWN_HOSTS" -o StrictHostKeyChecking=yes -o ControlPersist=yes \
    -o BatchMode=yes -o ConnectTimeout=10 -o LogLevel=ERROR -MNf -S "$DIR/ssh/$1" "root@$2"
}

# wait_for FILE…: until each is there, or another job failed.
wait_for() {
  local file
  for file; do
    until [ -s "$file" ]; do
      if [ -e "$DIR/failed" ] || [ $SECONDS -gt $LIMIT_SECONDS ]; then return 1; fi
      sleep 0.05
    done
  done
}

# --- one job a host

all() { cut -d' ' -f"$1" "$DIR/hosts"; }

peers_of() { # NAME: what host_mesh reads
  echo "127.0.0.1 localhost"
  local name address index pair
  while read -r name _ index _; do echo "10.88.0.$index $name"; done <"$DIR/hosts" | sort -V -k 2
  echo
  while read -r name address index _; do
    [ "$name" != "$1" ] || continue
    pair=$(printf '%s\n' "$1" "$name" | sort | tr '\n' -)
    printf '[Peer]\nPublicKey = %s\nPresharedKey = %s\nEndpoint = %s:51820\nAllowedIPs = %s\n' \
      "$(cat "$DIR/$name.public")" "$(cat "$DIR/psk-$pair")" "$address" "10.90.0.$index/32, 10.88.0.$index/32"
  done <"$DIR/hosts"
}

bring_up() { # NAME ADDRESS INDEX CPUS MEMORY_BYTES GPU-UUID,…
  local name=$1 index=$3 role=worker peers files
  connect "$name" "$2"
  mark "$name" begun
  over "$name" host_engine "$(cat "$CA")" >"$DIR/$name.public"
  mark "$name" engine
  peers=$(all 2 | { grep -vx "$2" || :; } | paste -sd,)
  over "$name" host_firewall "$MANAGEMENT" "$peers"
  mark "$name" firewall
  mapfile -t files < <(all 1 | sed "s|.*|$DIR/&.public|")
  wait_for "${files[@]}"
  peers_of "$name" | over "$name" host_mesh "$name" "$index"
  mark "$name" mesh
  over "$name" host_image
  mark "$name" image
  if [ "$name" = "$(all 1 | head -n 1)" ]; then role='head'; else wait_for "$DIR/head"; fi
  over "$name" host_ray "$role" "$index" "$4" "$5" "$6"
  mark "$name" ray
  [ $role = worker ] || echo up >"$DIR/head"
}

for one in $(all 1); do
  for other in $(all 1); do
    [[ $one > $other || $one = "$other" ]] || (umask 077 && head -c 32 /dev/urandom | base64 >"$DIR/psk-$one-$other-")
  done
done
jobs=()
while read -r line; do
  # shellcheck disable=SC2086
  (trap ': >"$DIR/failed"' EXIT && bring_up $line && trap - EXIT) </dev/null &
  jobs+=($!)
done <"$DIR/hosts"
for job in "${jobs[@]}"; do wait "$job"; done

slots=$(all 6 | tr , '\n' | wc -l)
nodes=$(all 3 | sed 's|.*|"10.88.0.&"|' | paste -sd,)
over "$(all 1 | head -n 1)" host_tasks \
  "{\"address\": \"10.88.0.1:6379\", \"nodes\": [$nodes], \"slots\": $slots, \"limit_seconds\": 120}" <"$DRIVER"
mark all tasks
