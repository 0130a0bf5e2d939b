# What a host is asked before a booking becomes ACTIVE: one line a finding. Needs bash, for its clock and /dev/tcp.
#   trial.sh SOCKET LIMIT_SECONDS MESH… -- CLOSED…     MESH and CLOSED: address:port
export LC_ALL=C
socket=$1 limit=$2; shift 2
pid=$(docker -H "unix://$socket" inspect -f '{{.State.Pid}}' pause 2>/dev/null)

connect() { timeout 2 bash -c "exec 3<>/dev/tcp/${1%:*}/${1##*:}" 2>/dev/null; }

# round_trip ADDRESS:PORT: the best of five connections, in microseconds; tries for a while, since tunnels open late.
round_trip() {
  local end=$((SECONDS + limit)) best= before after
  until connect "$1"; do [ $SECONDS -lt $end ] || { echo "unreached ${1%:*}"; return; }; sleep 0.1; done
  for _ in 1 2 3 4 5; do
    before=${EPOCHREALTIME/./}
    { exec 3<>"/dev/tcp/${1%:*}/${1##*:}"; } 2>/dev/null || continue
    after=${EPOCHREALTIME/./}
    exec 3<&-
    [ -n "$best" ] && [ $best -le $((after - before)) ] || best=$((after - before))
  done
  echo "reached ${1%:*} ${best:-0}"
}

if [ "$0" = inside ]; then
  for peer; do round_trip "$peer" & done
  wait
  exit
fi

ss -Hltn | awk '{print "listens tcp", $4}'
ss -Hlun | awk '{print "listens udp", $4}'
nft list chain inet timelock input 2>/dev/null | awk '/policy drop/ {print "policy drop"}'
mesh=()
while [ $# -gt 0 ] && [ "$1" != -- ]; do mesh+=("$1"); shift; done
[ $# -eq 0 ] || shift
for port; do { connect "$port" && echo "answers $port"; } & done
[ -z "$pid" ] || [ ${#mesh[@]} -eq 0 ] || nsenter -t "$pid" -n bash -c "$script" inside "$socket" "$limit" "${mesh[@]}"
wait
