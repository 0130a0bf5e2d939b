# What a booking is on a host, one fact a line, without what differs from run to run (keys, ids, counters): so that
# what floor.sh reaches can be compared with what `timelock book` does. Sent to a host; $1 is the booking.
# shellcheck shell=bash
set -u
export LC_ALL=C
engine() { timeout 20 docker -H "unix:///run/timelock/$1.sock" "${@:2}" 2>/dev/null; }
of() { sed "s|^|$1: |"; }

dpkg-query -W -f '${Package} ${Version}\n' | sha256sum | of packages
sysctl fs.inotify.max_user_instances kernel.dmesg_restrict net.ipv4.conf.all.accept_redirects \
  net.ipv6.conf.all.accept_redirects 2>/dev/null | of sysctl
getent passwd "tl-$1" | cut -d: -f1,6,7 | of user
grep -h "^tl-$1:" /etc/subuid /etc/subgid 2>/dev/null | of ids
find /etc/timelock /srv/timelock /run/timelock -maxdepth 1 2>/dev/null | grep -v '\.lock$' | sort | of path
find /var/lib/timelock-host -maxdepth 0 2>/dev/null | of path
tr -d ' \n' 2>/dev/null <"/etc/timelock/engines/$1.json" | tr -d '{}' | tr , '\n' | sed 's/"log-opts"://' | sort | of engine
engine "$1" info -f '{{.Driver}} {{.CgroupDriver}} {{.SecurityOptions}}' | of engine
systemctl list-units --all --plain --no-legend 'timelock-*' containerd.service docker.service docker.socket |
  awk '{print $1, $3, $4}' | grep -vE '^timelock-(pull|mesh)' | of unit
engine "$1" image ls --digests --format '{{.Repository}} {{.Digest}} {{.ID}}' | sort | of image
for container in pause ray; do
  for part in '{{json .Config.Cmd}}' '{{json .Config.User}}' '{{json .HostConfig.Tmpfs}}' '{{json .HostConfig.Devices}}' \
    '{{json .HostConfig.CapDrop}} {{.HostConfig.SecurityOpt}} {{.HostConfig.ReadonlyRootfs}} {{.HostConfig.Privileged}}' \
    '{{.HostConfig.Memory}} {{.HostConfig.MemorySwap}} {{.HostConfig.NanoCpus}} {{.HostConfig.PidsLimit}} {{.HostConfig.ShmSize}} {{.HostConfig.Ulimits}}' \
    '{{.State.Running}} {{.Config.Hostname}} {{.Config.Image}} {{.Config.WorkingDir}}'; do
    engine "$1" inspect -f "$part" "$container" | of "$container"
  done
  engine "$1" inspect -f '{{range .Config.Env}}{{println .}}{{end}}' "$container" | sed 's/^\(RAY_AUTH_TOKEN=\).*/\1…/' | sort | of "$container"
done
pid=$(engine "$1" inspect -f '{{.State.Pid}}' pause)
if [ -n "$pid" ]; then
  inside() { nsenter --net="/proc/$pid/ns/net" "$@"; }
  inside wg show all allowed-ips | awk '{$2 = ""; print}' | sort | of mesh
  inside wg show all listen-port | of mesh
  inside wg show all preshared-keys | awk '{print $1, $3 != "(none)"}' | of mesh
  inside ip -o address show scope global | awk '{print $2, $4}' | of mesh
  inside ip route | sed 's/ *$//' | sort | of mesh
  sed 1,1d "/proc/$pid/net/dev" | cut -d: -f1 | of mesh
  cat "$(engine "$1" inspect -f '{{.HostsPath}}' pause)" "$(engine "$1" inspect -f '{{.ResolvConfPath}}' pause)" | of names
fi
nft -s list table inet timelock 2>/dev/null | of firewall
ss -Hltun | awk '{print $1, $5}' | sed 's/%[a-z0-9]*//' | sort | of listens
true
