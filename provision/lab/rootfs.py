"""Makes the file trees that container images are cut from: a minimal Debian, or BusyBox alone.

Writes below one directory, in a mount namespace of its own. What becomes of the tree is the business of `layout`.
"""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path

from provision.lab.sources import SUITE, apt_options, debian_sources
from provision.lab.tool import CONTAINED, run

USER = "ray"
UID = 1000
EPOCH = 1_700_000_000
BUILD_TIMEOUT_SECONDS = 1800.0

DEBIAN_OPTIONS = (
    "--mode=root",
    "--dpkgopt=force-unsafe-io",
    *(f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in ("doc", "man", "locale", "info", "lintian")),
    '--aptopt=APT::Install-Recommends "false"',
    '--aptopt=Acquire::Languages "none"',
)
# Debian's working files and the machine's own settings, none of which an image may carry.
LEFTOVERS = (
    *("etc/resolv.conf", "etc/hostname", "etc/machine-id", "etc/apt/sources.list", "etc/apt/sources.list.d"),
    *("var/cache/debconf", "var/cache/apt", "var/cache/ldconfig", "var/lib/apt/lists", "var/log"),
)
# What the pause container is asked to do: hold a network, and answer questions about it.
BUSYBOX_NAMES = (
    *("sh", "sleep", "true", "cat", "echo", "grep", "id", "kill", "ls", "ps", "timeout"),
    *("ip", "nc", "netstat", "nslookup", "ping", "ping6", "traceroute", "wget"),
)
NOBODY = "nobody:x:65534:65534:nobody:/:/bin/sh\n"

# With the packages this decides what is in a tree.
RECIPE = (*DEBIAN_OPTIONS, *LEFTOVERS, *BUSYBOX_NAMES, NOBODY, USER, str(UID), str(EPOCH))


def debian(root: Path, packages: tuple[str, ...]) -> str:
    """Fill `root` with a minimal Debian and `packages`; returns the installed versions, one `name=version` a line."""
    _mmdebstrap(root, "--variant=minbase", f"--include={','.join(packages)}")
    show = ("--show", "--showformat=${Package}=${Version}\\n")
    versions = run(["dpkg-query", f"--admindir={root}/var/lib/dpkg", *show], timeout_seconds=60)
    remove(root, LEFTOVERS)
    _drop_privilege_bits(root)
    return versions


def busybox(root: Path, unpacked: Path) -> str:
    """Make `root` a tree of Debian's static BusyBox alone, by way of `unpacked`; returns its version line."""
    _mmdebstrap(unpacked, "--variant=extract", "--include=busybox-static")
    for folder in ("bin", "etc", "dev", "proc", "sys", "tmp"):
        (root / folder).mkdir(parents=True)
    program = shutil.copy(unpacked / "bin/busybox", root / "bin/busybox")
    for name in BUSYBOX_NAMES:
        (root / "bin" / name).symlink_to("busybox")
    for name, content in (("hosts", ""), ("resolv.conf", ""), ("passwd", NOBODY), ("group", "nogroup:x:65534:\n")):
        (root / "etc" / name).write_text(content)
    return run([program], timeout_seconds=60).partition("\n")[0]


def add_user(root: Path) -> None:
    """Give the tree its one ordinary user; the home is where a tmpfs belongs."""
    with (root / "etc/passwd").open("a") as passwd:
        passwd.write(f"{USER}:x:{UID}:{UID}::/home/{USER}:/bin/bash\n")
    with (root / "etc/group").open("a") as group:
        group.write(f"{USER}:x:{UID}:\n")
    home = root / "home" / USER
    home.mkdir(parents=True)
    os.chown(home, UID, UID)


def remove(root: Path, patterns: tuple[str, ...]) -> None:
    """Delete what the patterns name, each seen from `root`."""
    for pattern in patterns:
        for path in sorted(root.glob(pattern)):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)


def _mmdebstrap(target: Path, *options: str) -> None:
    words: tuple[str | Path, ...] = (
        "mmdebstrap",
        "--quiet",
        *DEBIAN_OPTIONS,
        *apt_options(),
        *options,
        SUITE,
        target,
        "-",
    )
    environment = {**os.environ, "SOURCE_DATE_EPOCH": str(EPOCH), "DEBIAN_FRONTEND": "noninteractive"}
    run([*CONTAINED, *words], stdin=debian_sources(), env=environment, timeout_seconds=BUILD_TIMEOUT_SECONDS)


def _drop_privilege_bits(root: Path) -> None:
    """Take set-user-id and set-group-id from every program: no process of a booking may gain privileges."""
    for folder, _, names in os.walk(root):
        for path in (Path(folder, name) for name in names):
            mode = path.lstat().st_mode
            if stat.S_ISREG(mode) and mode & (stat.S_ISUID | stat.S_ISGID):
                path.chmod(stat.S_IMODE(mode) & 0o777)
