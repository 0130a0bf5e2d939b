# What the floor does on a host: functions that floor.sh and floor_release.sh send there, one a call. See floor.sh.
# shellcheck shell=bash
readonly LIMIT_SECONDS=300

# over NAME FUNCTION WORD…: run a function of this file on a host.
over() {
  local name=$1 function=$2 script
  shift 2
  script="set -euo pipefail; $(declare -p BOOKING REGISTRY IMAGE PAUSE)
$(declare -f engine "$function"); $function$(printf ' %q' "$@")"
  timeout "$LIMIT_SECONDS" ssh -F none -S "$DIR/ssh/$name" "$name" "bash -c $(printf %q "$script")"
}

# --- on a host

engine() { docker -H "unix:///run/timelock/$BOOKING.sock" "$@"; }

host_engine() { # CA_PEM: packages, settings, user, engine, pulls in the background; prints the WireGuard public key
  local words=(docker.io iproute2 iptables nftables uidmap wireguard-tools wireguard-go) state=/var/lib/timelock-host
  if [ "$(dpkg-query -W -f '${db:Status-Abbrev}\n' "${words[@]}" 2>/dev/null | grep -c '^ii')" -lt ${#words[@]} ]; then
    DEBIAN_FRONTEND=noninteractive apt-get -qy install --no-install-recommends "${words[@]}" >/dev/null
  fi
  mkdir -p "$state/bookings/$BOOKING" /etc/timelock/engines /etc/timelock/firewall.d "/etc/docker/certs.d/$REGISTRY" \
    "/srv/timelock/$BOOKING" /run/timelock
  chmod 700 "$state/bookings/$BOOKING"
  chmod 711 /srv/timelock
  chmod 710 "/srv/timelock/$BOOKING"
  sysctl -n fs.inotify.max_user_instances kernel.dmesg_restrict net.ipv4.conf.all.accept_redirects \
    net.ipv6.conf.all.accept_redirects >"$state/sysctls"
  cat >/etc/sysctl.d/60-timelock.conf <<END
fs.inotify.max_user_instances = 1024
kernel.dmesg_restrict = 1
net.ipv4.conf.all.accept_redirects = 0
net.ipv6.conf.all.accept_redirects = 0
END
  sysctl -q -p /etc/sysctl.d/60-timelock.conf
  useradd --system --user-group --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin "tl-$BOOKING"
  echo "tl-$BOOKING:2000000:65536" | tee -a /etc/subuid >>/etc/subgid
  echo "$1" >"/etc/docker/certs.d/$REGISTRY/ca.crt"
  cat >"/etc/timelock/engines/$BOOKING.json" <<END
{
  "data-root": "/srv/timelock/$BOOKING",
  "exec-root": "/run/timelock/$BOOKING",
  "pidfile": "/run/timelock/$BOOKING/docker.pid",
  "group": "root",
  "hosts": ["unix:///run/timelock/$BOOKING.sock"],
  "containerd-namespace": "timelock-$BOOKING",
  "userns-remap": "tl-$BOOKING",
  "bridge": "none",
  "iptables": false,
  "ip6tables": false,
  "ip-forward": false,
  "ip-masq": false,
  "userland-proxy": false,
  "live-restore": true,
  "no-new-privileges": true,
  "exec-opts": ["native.cgroupdriver=cgroupfs"],
  "log-driver": "local",
  "log-opts": {"max-size": "20m", "max-file": "2"},
  "shutdown-timeout": 5
}
END
  cat >"/etc/systemd/system/timelock-docker@$BOOKING.service" <<END
[Unit]
Wants=containerd.service
After=containerd.service network.target
[Service]
Type=notify
ExecStart=/usr/bin/env dockerd --config-file /etc/timelock/engines/$BOOKING.json --containerd-plugins-namespace timelock-$BOOKING-plugins
Restart=always
KillMode=process
Delegate=yes
LimitNOFILE=infinity
LimitNPROC=infinity
LimitCORE=0
TasksMax=infinity
OOMScoreAdjust=-500
[Install]
WantedBy=multi-user.target
END
  systemctl daemon-reload
  systemctl enable --quiet --now "timelock-docker@$BOOKING.service"
  systemd-run --quiet --unit floor-pull sh -c "for image in $PAUSE $IMAGE; do
    docker -H unix:///run/timelock/$BOOKING.sock pull -q \$image & done; wait"
  (umask 077 && wg genkey >"$state/bookings/$BOOKING/wireguard-0.key")
  wg pubkey <"$state/bookings/$BOOKING/wireguard-0.key"
}

host_firewall() { # MANAGEMENT PEERS
  local wireguard=''
  [ -z "$2" ] || wireguard="ip saddr { $2 } udp dport 51820 counter accept comment \"$BOOKING: wireguard\""
  cat >/etc/timelock/firewall.nft <<END
table inet timelock
delete table inet timelock
table inet timelock {
  chain input {
    type filter hook input priority filter - 10; policy drop;
    ct state established,related accept
    iif "lo" accept
    ct state invalid counter drop comment "invalid"
    icmp type echo-request limit rate 5/second burst 10 packets counter accept comment "ping"
    icmpv6 type echo-request limit rate 5/second burst 10 packets counter accept comment "ping"
    icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert, nd-router-advert } ip6 hoplimit 255 accept
    ip saddr { $1 } tcp dport 22 counter accept comment "$BOOKING: ssh"
    $wireguard
    meta l4proto tcp counter drop comment "dropped tcp"
    meta l4proto udp counter drop comment "dropped udp"
    counter drop comment "dropped other"
  }
  chain forward {
    type filter hook forward priority filter - 10; policy drop;
    counter drop comment "dropped forward"
  }
}
END
  cat >/etc/systemd/system/timelock-firewall.service <<END
[Unit]
DefaultDependencies=no
Before=network-pre.target
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/sbin/nft -f /etc/timelock/firewall.nft
[Install]
WantedBy=sysinit.target
END
  systemctl daemon-reload
  systemctl enable --quiet --now timelock-firewall.service
}

host_mesh() { # NAME INDEX, on standard input: /etc/hosts, an empty line, peers for wg
  local name=$1 index=$2 pid hosts='' line
  while read -r line && [ -n "$line" ]; do hosts+="$line"$'\n'; done
  until engine image inspect "$PAUSE" >/dev/null 2>&1; do sleep 0.05; done
  engine run -d --name pause --hostname "$name" --network none --read-only --cap-drop ALL \
    --security-opt no-new-privileges --pids-limit 16 --memory 32m --memory-swap 32m --ulimit core=0 "$PAUSE" >/dev/null
  read -r pid hosts_path resolv_path < <(engine inspect -f '{{.State.Pid}} {{.HostsPath}} {{.ResolvConfPath}}' pause)
  printf '%s' "$hosts" >"$hosts_path"
  echo 'nameserver 127.0.0.1' >"$resolv_path"
  if ! ip link add tl0p0 type wireguard 2>/dev/null; then
    systemd-run --quiet --unit floor-mesh wireguard-go -f tl0p0
    until wg show tl0p0 >/dev/null 2>&1; do sleep 0.05; done
  fi
  ip link set tl0p0 netns "$pid"
  { printf '[Interface]\nListenPort = 51820\nPrivateKey = %s\n' \
    "$(cat "/var/lib/timelock-host/bookings/$BOOKING/wireguard-0.key")" && cat; } >/run/timelock/floor.conf
  nsenter --net="/proc/$pid/ns/net" sh -ec "
    wg setconf tl0p0 /run/timelock/floor.conf
    ip link set tl0p0 mtu 1420 addrgenmode none
    ip address add 10.88.0.$index/32 dev lo
    ip address add 10.90.0.$index/32 dev tl0p0
    echo 0 >/proc/sys/net/ipv4/conf/all/rp_filter
    echo 0 >/proc/sys/net/ipv4/conf/tl0p0/rp_filter
    ip link set tl0p0 up
    sed -n 's|^AllowedIPs = \\(.*\\)/32, \\(.*\\)/32|route add \\1 dev tl0p0 proto static metric 1000\nroute add \\2 dev tl0p0 proto static metric 1000 src 10.88.0.$index|p' \
      /run/timelock/floor.conf | ip -batch -"
  rm /run/timelock/floor.conf
}

host_image() {
  local pulling
  pulling=$(systemctl show -p MainPID --value floor-pull.service)
  [ "$pulling" = 0 ] || tail --pid="$pulling" -s 0.1 -f /dev/null
  engine image inspect "$IMAGE" >/dev/null
}

host_ray() { # ROLE INDEX CPUS MEMORY_BYTES GPU-UUID,…
  local role=$1 index=$2 cpus=$3 memory=$4 gpus port first devices=() node
  IFS=, read -ra gpus <<<"$5"
  local store=$((memory * 3 / 10))
  for node in "${!gpus[@]}"; do devices+=(--device "/dev/nvidia$node"); done
  for node in /dev/nvidiactl /dev/nvidia-uvm /dev/nvidia-uvm-tools; do
    [ ! -c $node ] || devices+=(--device "$node")
  done
  if [ "$role" = head ]; then
    port=6379 cpus_offered=1
    first=(--head --port=6379 --ray-client-server-port=10001 --include-dashboard=true "--dashboard-host=10.88.0.$index"
      --dashboard-port=8265)
  else
    port=6380 cpus_offered=$cpus
    first=(--address=10.88.0.1:6379)
  fi
  # shellcheck disable=SC2016
  engine run -d --name ray --network container:pause --user 1000:1000 --cap-drop ALL --security-opt no-new-privileges \
    --read-only --workdir /workspace --tmpfs "/tmp:rw,exec,nosuid,nodev,mode=1777,size=$((memory / 4))" \
    --tmpfs "/workspace:rw,exec,nosuid,nodev,mode=0700,uid=1000,gid=1000,size=$((memory / 4))" \
    --shm-size $((store + 256 * 1024 * 1024)) --memory "$memory" --memory-swap "$memory" --cpus "$cpus" \
    --pids-limit 4096 --ulimit core=0 "${devices[@]}" --env "CUDA_VISIBLE_DEVICES=$5" --env HOME=/workspace \
    --env PYTHONDONTWRITEBYTECODE=1 --env RAY_USAGE_STATS_ENABLED=0 --env RAY_gcs_server_port_wait_time_s=180 \
    --env RAY_DASHBOARD_STARTUP_TIMEOUT_S=180 --env RAY_NUM_REDIS_GET_RETRIES=90 \
    --env "RAY_worker_maximum_startup_concurrency=$(printf '%d\n' "$cpus_offered" "${#gpus[@]}" 1 | sort -n | tail -n 1)" \
    "$IMAGE" \
    sh -c '"$@" & child=$!
trap '\''kill -TERM $child'\'' TERM INT
while :; do wait $child; status=$?; kill -0 $child 2>/dev/null || exit $status; done' ray \
    ray start --block --disable-usage-stats --log-style=record --log-color=false "${first[@]}" \
    "--node-ip-address=10.88.0.$index" --node-manager-port=6380 --object-manager-port=6381 \
    --runtime-env-agent-port=6382 --dashboard-agent-grpc-port=6383 --dashboard-agent-listen-port=6384 \
    --metrics-export-port=6385 --min-worker-port=20000 --max-worker-port=29999 "--num-cpus=$cpus_offered" \
    "--num-gpus=${#gpus[@]}" "--object-store-memory=$store" >/dev/null
  local pid
  pid=$(engine inspect -f '{{.State.Pid}}' ray)
  until awk '$4 == "0A" {split($2, a, ":"); print a[2]}' "/proc/$pid/net/tcp" | grep -qx "$(printf %04X $port)"; do
    kill -0 "$pid"
    sleep 0.05
  done
}

host_tasks() { # PLAN, on standard input: the driver that holds every GPU slot at once
  engine exec -i ray python3 - "$1"
}

host_clear() {
  local state=/var/lib/timelock-host name kind id
  engine ps -aq | xargs -r docker -H "unix:///run/timelock/$BOOKING.sock" rm -f -v >/dev/null
  systemctl stop floor-mesh.service floor-pull.service 2>/dev/null || :
  systemctl disable --quiet --now "timelock-docker@$BOOKING.service" timelock-firewall.service
  for name in "timelock-$BOOKING" "timelock-$BOOKING-plugins"; do
    ctr namespaces ls -q | grep -qxF "$name" || continue
    for kind in tasks containers images leases content; do
      for id in $(ctr -n "$name" $kind ls -q); do ctr -n "$name" $kind rm "$id" >/dev/null; done
    done
    ctr namespaces rm "$name" >/dev/null
  done
  awk -v a="/srv/timelock/$BOOKING/" -v b="/run/timelock/$BOOKING/" \
    'index($2, a) == 1 || index($2, b) == 1 {print $2}' /proc/mounts | sort -r | xargs -r -n 1 umount
  rm -rf --one-file-system "/srv/timelock/$BOOKING" "/run/timelock/$BOOKING" "/run/timelock/$BOOKING.sock"
  nft delete table inet timelock
  { read -r a && read -r b && read -r c && read -r d; } <"$state/sysctls"
  sysctl -q -w fs.inotify.max_user_instances="$a" kernel.dmesg_restrict="$b" \
    net.ipv4.conf.all.accept_redirects="$c" net.ipv6.conf.all.accept_redirects="$d"
  userdel "tl-$BOOKING"
  sed -i "/^tl-$BOOKING:/d" /etc/subuid /etc/subgid
  shred -u "$state/bookings/$BOOKING/wireguard-0.key"
  rm -rf "$state" /srv/timelock /run/timelock /etc/timelock /etc/sysctl.d/60-timelock.conf /etc/docker/certs.d \
    "/etc/systemd/system/timelock-docker@$BOOKING.service" /etc/systemd/system/timelock-firewall.service
  systemctl daemon-reload
}
