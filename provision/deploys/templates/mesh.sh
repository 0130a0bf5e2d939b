#!/bin/sh
# Timelock: the mesh of one booking on this host: a pause container, in whose network namespace the booking's
# containers live, and in it one WireGuard interface a plane, whose UDP socket stays with the host.
#
#   mesh.sh keep DIR   make it, say so to systemd, and repair it for ever
#   mesh.sh sync DIR   bring peers, routes and names up to date; the interfaces stay
#   mesh.sh show DIR   tell what is there, without secrets
#
# DIR holds: settings (shell), planes (lines: INDEX INTERFACE PORT ADDRESS MTU KEYFILE), peers-INDEX (for wg; secret),
# routes-INDEX (lines: DESTINATION [src ADDRESS]), hosts. Lines are read, never evaluated, except settings.
set -u
export LC_ALL=C PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
verb=$1 dir=$2
. "$dir/settings" # booking socket pause_image address name
cd "$dir" || exit 1
umask 077

say() { echo "timelock mesh $booking: $*" >&2; }
engine() { docker -H "unix://$socket" "$@"; }
inside() { nsenter --net="/proc/$pid/ns/net" -- "$@"; }
# look FORMAT: what the engine knows of the pause container.
look() { engine inspect -f "$1" pause 2>/dev/null; }
# within SECONDS COMMAND…: try until it succeeds.
within() {
  tries=$(($1 * 20)); shift
  until "$@" >/dev/null 2>&1; do tries=$((tries - 1)); [ $tries -gt 0 ] || return 1; sleep 0.05; done
}
each_plane() { while read -r index interface port transport mtu key <&3; do "$@" || return 1; done 3<planes; }

locate() {
  set -- $(look '{{.State.Running}} {{.State.Pid}} {{.HostsPath}} {{.ResolvConfPath}}')
  [ "${1:-}" = true ] && pid=$2 hosts_path=$3 resolv_path=$4
}

# --- making

pause() {
  fresh=
  case $(look '{{.State.Running}} {{.Config.Image}} {{.Config.Hostname}}') in
    "true $pause_image $name") locate; return ;;
    "false $pause_image $name")
      # The containers that shared its namespace still hold the old one, and the interfaces in it: both must go first.
      say "the pause container is dead: starting it, and what lived in its namespace, anew"
      fresh=yes
      joined=$(engine ps -aq --filter label=timelock.role=ray) && [ -z "$joined" ] || engine kill $joined >/dev/null 2>&1
      each_plane unmake
      engine start pause >/dev/null || return 1 ;;
    *)
      engine rm -f pause >/dev/null 2>&1
      each_plane unmake
      engine run -d --name pause --hostname "$name" --label "timelock.booking=$booking" --label timelock.role=pause \
        --network none --read-only --cap-drop ALL --security-opt no-new-privileges --pids-limit 16 --memory 32m \
        --memory-swap 32m --ulimit core=0 "$pause_image" >/dev/null || return 1 ;;
  esac
  locate
}

publish() { # the files that all containers of the namespace see as /etc/hosts and /etc/resolv.conf, changed in place
  cmp -s hosts "$hosts_path" || cat hosts >"$hosts_path"
  # Nothing listens there: a look-up is refused at once instead of timing out.
  [ "$(cat "$resolv_path")" = "nameserver 127.0.0.1" ] || echo "nameserver 127.0.0.1" >"$resolv_path"
}

unmake() {
  eval "program=\${program_$index:-}"
  [ -z "$program" ] || { kill "$program" && wait "$program"; eval "program_$index="; } 2>/dev/null
  ip link del dev "$interface" 2>/dev/null # cut off between making and moving
  return 0
}

make_interface() {
  unmake
  if ! ip link add dev "$interface" type wireguard 2>/dev/null; then
    rm -f "/run/wireguard/$interface.sock"
    wireguard-go -f "$interface" >/dev/null 2>&1 &
    eval "program_$index=$!"
    # Its control socket comes late.
    within 10 wg show "$interface" || { say "wireguard-go did not bring up $interface"; return 1; }
  fi
  ip link set dev "$interface" netns "$pid"
}

plane() {
  inside ip link show dev "$interface" >/dev/null 2>&1 && inside wg show "$interface" >/dev/null 2>&1 ||
    make_interface || return 1
  # The port of an interface whose namespace is being taken down is free only a moment later.
  within 5 configure || { say "plane $index: $(configure 2>&1)"; return 1; }
  routes
}

configure() {
  { echo "[Interface]"; echo "ListenPort = $port"; echo "PrivateKey = $(cat "$key")"; cat "peers-$index"; } |
    inside wg syncconf "$interface" /dev/stdin &&
    inside ip link set dev "$interface" mtu "$mtu" addrgenmode none &&
    inside ip address replace "$address/32" dev lo &&
    inside ip address replace "$transport/32" dev "$interface" &&
    # Each plane is a way to the same addresses; what may come from where is WireGuard's to say.
    inside sh -c 'for i in all "$0"; do echo 0 >"/proc/sys/net/ipv4/conf/$i/rp_filter"; done' "$interface" &&
    inside ip link set dev "$interface" up
}

routes() {
  while read -r destination rest; do
    echo "route replace $destination dev $interface proto static metric $((1000 + index)) $rest"
  done <"routes-$index" | inside ip -batch - || return 1
  inside ip -o route show dev "$interface" proto static | while read -r destination _; do
    grep -qE "^$destination(/32)?( |\$)" "routes-$index" || inside ip route del "$destination" dev "$interface" proto static
  done
}

ensure() {
  pause || { say "no pause container"; return 1; }
  publish
  each_plane plane || return 1
  exec 9<"/proc/$pid/ns/net"
  [ -z "$fresh" ] || restart_joined
}

restart_joined() {
  set -- $(engine ps -aq --filter label=timelock.role=ray)
  [ $# -eq 0 ] || engine restart -t 0 "$@" >/dev/null
}

# --- keeping

intact() { # no process is started here: this runs every second
  [ "/proc/$pid/ns/net" -ef /proc/self/fd/9 ] && each_plane present
}

present() {
  while read -r device _; do [ "$device" != "$interface:" ] || return 0; done <"/proc/$pid/net/dev"
  return 1
}

keep() {
  ensure || exit 1
  systemd-notify --ready --status="holding the namespace of process $pid"
  while sleep 1; do
    intact 2>/dev/null || { say "not intact: repairing"; exec 9<&-; ensure && say "repaired"; }
  done
}

sync() {
  within 20 locate || { say "the pause container does not run: see timelock-mesh@$booking.service"; exit 1; }
  publish
  each_plane await && each_plane plane_in_place
}

await() { within 20 inside wg show "$interface" || { say "plane $index: $interface is missing"; return 1; }; }
plane_in_place() { configure && routes; }

# --- telling

show() {
  locate || exit 0
  echo "pause $(look '{{.Config.Image}} {{.Config.Hostname}}')"
  echo "hosts $(sha256sum <"$hosts_path" | cut -d' ' -f1)"
  echo "resolver $(tr '\n' ' ' <"$resolv_path")"
  echo "address $(inside ip -o -4 address show dev lo scope global | awk '{print $4}')"
  each_plane show_plane
}

show_plane() {
  inside wg show "$interface" dump >/dev/null 2>&1 || return 0
  kind=kernel; [ ! -S "/run/wireguard/$interface.sock" ] || kind=userspace
  own=wrong; [ "$(wg pubkey <"$key")" != "$(inside wg show "$interface" public-key)" ] || own=right
  echo "interface $index $kind $own $(inside wg show "$interface" listen-port)" \
    "$(inside ip -o link show dev "$interface" | sed 's/.* mtu \([0-9]*\) .*/\1/')" \
    "$(inside ip -o -4 address show dev "$interface" | awk '{print $4}' | tr '\n' ',')"
  inside wg show "$interface" dump | awk -v q="$index" 'NR > 1 {print "peer", q, $1, $4, $3}'
  echo "secrets $index $(inside wg show "$interface" preshared-keys | sort | sha256sum | cut -d' ' -f1)"
  inside ip -o route show dev "$interface" proto static | awk -v q="$index" '{print "route", q, $1}'
}

"$verb"
