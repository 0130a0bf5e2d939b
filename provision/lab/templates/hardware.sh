# Makes what a physical host would have from its firmware and kernel. Arguments come from /etc/host-gpus: name major minor.
set -u

# Version 1 control groups arrive read-only in a container; only the flag of each mount has to change.
if [ ! -e /sys/fs/cgroup/cgroup.controllers ]; then
  for group in /sys/fs/cgroup/*/; do mount -o remount,bind,rw "$group"; done
  mount -o remount,rw /sys/fs/cgroup
fi

mkdir -p /dev/net /dev/char
[ -e /dev/net/tun ] || mknod -m 666 /dev/net/tun c 10 200
[ -e /dev/fuse ] || mknod -m 666 /dev/fuse c 10 229
while read -r name major minor; do
  [ -e "/dev/$name" ] || mknod -m 666 "/dev/$name" c "$major" "$minor"
  ln -sf "../$name" "/dev/char/$major:$minor"
done < /etc/host-gpus

# Settings below kernel, fs and vm belong to the machine: this host gets writable copies of its own, all in one mount call.
copies=/run/host-sysctl
mkdir -p "$copies"
while read -r key; do
  source=/proc/sys/$key
  [ -e "$source" ] || continue
  copy=$copies/$(echo "$key" | tr / .)
  cat "$source" > "$copy" 2>/dev/null || continue
  echo "$copy $source none bind 0 0"
done < /etc/host-sysctls > "$copies/table"
# The machine's kernel keys are nobody's business here.
: > "$copies/none"
for list in /proc/keys /proc/key-users; do [ -e "$list" ] && echo "$copies/none $list none bind 0 0"; done >> "$copies/table"
mount --all --fstab "$copies/table"
exit 0
