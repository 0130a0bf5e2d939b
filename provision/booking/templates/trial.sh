# What a host is asked before a booking becomes ACTIVE; prints one line a finding. For bash: its clock and /dev/tcp.
#   bash -c "$script" outside SOCKET LIMIT_SECONDS MESH… -- CLOSED…        MESH, CLOSED: address:port
export LC_ALL=C

# connect SECONDS ADDRESS:PORT
connect() { timeout "$1" bash -c "exec 3<>/dev/tcp/${2%:*}/${2##*:}" 2>&1; }

# round_trip ADDRESS:PORT: the best of five connections, in microseconds. It tries for a while: tunnels open late.
round_trip() {
  local end=$((SECONDS + limit)) best='' before after
  until connect 2 "$1" >/dev/null; do
    [ $SECONDS -lt $end ] || { echo "unreached ${1%:*}"; return; }
    sleep 0.1
  done
  for _ in 1 2 3 4 5; do
    before=${EPOCHREALTIME/./}
    { exec 3<>"/dev/tcp/${1%:*}/${1##*:}"; } 2>/dev/null || continue
    after=${EPOCHREALTIME/./}
    exec 3<&-
    [ -n "$best" ] && [ "$best" -le $((after - before)) ] || best=$((after - before))
  done
  echo "reached ${1%:*} ${best:-0}"
}

# silent ADDRESS:PORT: whether it answers, be it with a refusal.
silent() {
  local said
  if said=$(connect 1 "$1"); then echo "answers $1"; elif [[ $said == *refused* ]]; then echo "refuses $1"; fi
}

socket=$1 limit=$2
shift 2
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
shift
for port; do silent "$port" & done
pid=$(docker -H "unix://$socket" inspect -f '{{.State.Pid}}' pause 2>/dev/null)
[ -z "$pid" ] || nsenter -t "$pid" -n bash -c "$script" inside "$socket" "$limit" "${mesh[@]}"
wait
