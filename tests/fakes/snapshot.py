"""All of a lab host that a booking could leave something in, as lines to compare: before it, and after it is over."""

import hashlib
import os
import re
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from provision.lab.lab import Lab

Run = Callable[..., str]

LOOKS = {
    "firewall": "nft -s list ruleset",
    "links": "ip -o link show | sed 's/^[0-9]*: //'",
    "addresses": "ip -o address show | sed 's/^[0-9]*: //; s/valid_lft.*//'",
    "routes": "ip route show table all; ip rule",
    "namespaces": "ls /run/netns 2>/dev/null; readlink /proc/[0-9]*/ns/net 2>/dev/null | sort -u | wc -l",
    "mounts": "awk '{print $1, $2, $3, $4}' /proc/mounts",
    "units": "systemctl list-units --all --plain --no-legend --no-pager | awk '{print $1, $2, $3, $4}'",
    "unit files": "systemctl list-unit-files --no-legend --no-pager",
    "processes": "ps -eo user:20,args --no-headers",
    "containers": "ctr namespaces ls -q 2>/dev/null",
    "keys": "cat /proc/keys",
    "sockets": "ss -Hlntu | awk '{print $1, $5}'; ls -A /run /run/wireguard /run/lock /dev/shm",
    "sysctls": "sysctl -a 2>/dev/null",
    "disk": "find /srv /tmp /var/tmp /run/systemd/transient/* -printf '%y %m %u %p\\n'",
    "users": "cat /etc/passwd /etc/group /etc/subuid /etc/subgid",
    "sysv": "ipcs -a | grep ^0x",
}
"""What is looked at → the command that tells it."""

PASSING = {
    "units": r"^(session-|user@0|user-0\.slice|user-runtime-dir@|run-user-0|ssh@|systemd-(timedated|hostnamed))",
    "mounts": r" /run/user/0 ",
    "processes": r" (\[|sshd|ps |\(sd-pam\)|/lib/systemd/systemd --user|(sh|bash|sleep|awk|sort|readlink)( |$))",
    "namespaces": r"^\d+$",
    "sysctls": r"^(kernel\.(random|ns_last_pid|pty\.nr)|fs\.(dentry|inode|file-nr|quota|aio-nr)|.*conntrack_count)",
    "disk": r"/systemd-private-",
    "files": r"^/(core |var/log/|tmp/|var/tmp/|var/lib/containerd/io\.containerd\.metadata\.v1\.bolt/meta\.db )",
}
"""What comes and goes by itself on any Debian host, our looking at it included; and logs, which stay."""


OF_A_BOOT = ("links", "mounts", "namespaces", "processes", "sockets", "sysv")
"""What is another after each boot; a host that was started anew is compared without it."""


@dataclass(frozen=True)
class Snapshot:
    """Lines by what was looked at; of files their kind, mode, owner and content."""

    lines: dict[str, frozenset[str]]
    boot: str

    def difference(self, later: "Snapshot") -> list[str]:
        """What is there later and was not, with +; what was there and is no more, with -."""
        return sorted(
            f"{sign} {what}: {line}"
            for what, before in self.lines.items()
            if self.boot == later.boot or what not in OF_A_BOOT
            for sign, found in (("+", later.lines[what] - before), ("-", before - later.lines[what]))
            for line in found
        )


def snapshot(lab: Lab, host: str, ssh: Run) -> Snapshot:
    """Look at the host, once it has come to rest."""
    boot = ssh(lab, host, "systemctl is-system-running --wait >/dev/null; cat /proc/sys/kernel/random/boot_id")
    script = "\n".join(f"echo '## {what}'; {{ {command}; }} 2>/dev/null; :" for what, command in LOOKS.items())
    found: dict[str, set[str]] = {}
    for line in ssh(lab, host, script).splitlines():
        if line.startswith("## "):
            lines = found.setdefault(line.removeprefix("## "), set())
        elif line.strip():
            lines.add(re.sub(r"\s+", " ", line.strip()))
    found["files"] = set(_files(lab.host(host).upper, lab.host(host).image))
    lasting = {what: frozenset(line for line in lines if not _passes(what, line)) for what, lines in found.items()}
    return Snapshot(lasting, boot)


def _passes(what: str, line: str) -> bool:
    return what in PASSING and re.search(PASSING[what], line) is not None


def _files(upper: Path, image: Path) -> Iterator[str]:
    """Each file that differs from the image which the host was started from."""
    for folder, names, files in os.walk(upper):
        for name in (*names, *files):
            path = Path(folder, name)
            where = path.relative_to(upper)
            if (about := _about(path)) != _about(image / where):
                yield f"/{where} {about}"


def _about(path: Path) -> str:
    """Kind, mode, owner and content."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return "absent"
    content = ""
    if stat.S_ISLNK(found.st_mode):
        content = str(path.readlink())
    elif stat.S_ISREG(found.st_mode):
        content = hashlib.sha256(path.read_bytes()).hexdigest()[:12]
    return f"{stat.filemode(found.st_mode)} {found.st_uid}:{found.st_gid} {content}"
