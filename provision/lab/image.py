"""Makes and keeps the file trees that lab hosts start from: one a flavour, found by the digest of its recipe.

A tree is built beside its place and renamed there whole, so a build that was killed leaves nothing that is taken for
good. What a single host has of its own (keys, names, addresses) is not here but in `host`.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from provision.errors import InvalidInput, MachineCannot
from provision.home import Home
from provision.lab.sources import SUITE, debian_sources
from provision.lab.tool import CONTAINED, cannot, run
from provision.lab.turn import only_one

RECIPE_VERSION = 1
NEEDED_BYTES = 3_000_000_000
BUILD_TIMEOUT_SECONDS = 1800.0

MINIMAL = (
    *("systemd-sysv", "dbus", "openssh-server", "python3", "iproute2", "ca-certificates"),
    *("procps", "curl", "sudo", "e2fsprogs", "kmod", "iputils-ping"),
)
GOLDEN = (*MINIMAL, "docker.io", "nftables", "iptables", "wireguard-tools", "wireguard-go", "chrony", "uidmap")
FLAVOURS = {"minimal": MINIMAL, "golden": GOLDEN}

OPTIONS = (
    "--mode=root",
    "--variant=minbase",
    "--dpkgopt=force-unsafe-io",
    *(f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in ("doc", "man", "locale", "info", "lintian")),
    '--aptopt=APT::Install-Recommends "false"',
    '--aptopt=Acquire::Languages "none"',
)
TIMERS = ("apt-daily", "apt-daily-upgrade", "dpkg-db-backup", "e2scrub_all", "fstrim", "man-db")
# Identity belongs to a host, never to the image all hosts share; nothing may take apt's lock behind a deploy's back.
HOOKS = (
    'cd "$1" && rm -f etc/hostname etc/resolv.conf etc/machine-id var/lib/dbus/machine-id etc/ssh/ssh_host_*',
    ': > "$1"/etc/machine-id && : > "$1"/etc/default/locale',
    *(f'ln -sf /dev/null "$1"/etc/systemd/system/{timer}.timer' for timer in TIMERS),
    'rm -rf "$1"/var/cache/apt/*.bin "$1"/var/log/apt "$1"/var/log/*.log "$1"/var/cache/debconf/*-old',
)

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """All that decides what is in a host image."""

    flavour: str
    packages: tuple[str, ...]
    sources: str
    settings: tuple[str, ...] = ()

    @property
    def digest(self) -> str:
        """SHA-256 over every ingredient, the machine's apt sources included."""
        parts = (RECIPE_VERSION, platform.machine(), SUITE, self.packages, self.sources, OPTIONS, self.settings, HOOKS)
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    @property
    def folder(self) -> str:
        """The name of the image's place in the cache."""
        return f"host-{self.flavour}-{self.digest[:16]}"


def recipe(flavour: str) -> Recipe:
    """Give the recipe of a flavour on this machine; raises InvalidInput for a flavour there is not."""
    if flavour not in FLAVOURS:
        raise InvalidInput((f"image: expected one of {', '.join(sorted(FLAVOURS))}, found {flavour!r}",))
    return Recipe(flavour=flavour, packages=FLAVOURS[flavour], sources=debian_sources(), settings=_apt_settings())


def host_image(home: Home, flavour: str, progress: Progress) -> Path:
    """Return the root of the image's file tree, building it first where the cache has none.

    Raises MachineCannot without disk space, without mmdebstrap, or when the package sources do not answer.
    """
    wanted = recipe(flavour)
    place = home.images / wanted.folder
    if not place.is_dir():
        home.images.mkdir(parents=True, exist_ok=True)
        with only_one(home.images / f".{wanted.folder}.lock"):
            if not place.is_dir():
                progress(f"host image {flavour}: building from {len(wanted.packages)} packages (once, 1–3 min)")
                _build(wanted, place)
                progress(f"host image {flavour}: built")
    return place / "root"


def _build(wanted: Recipe, place: Path) -> None:
    free = shutil.disk_usage(place.parent).free
    if free < NEEDED_BYTES:
        raise MachineCannot(
            f"{place.parent}: expected {NEEDED_BYTES // 10**9} GB free for a host image, found {free / 10**9:.1f} GB",
            next_step="free some space, or name another disk in TIMELOCK_CACHE",
        )
    workshop = place.with_name(f".{place.name}.building")
    _discard(workshop)
    try:
        workshop.mkdir()
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "TMPDIR": str(workshop)}
        words = [*CONTAINED, *_mmdebstrap(wanted, workshop / "root")]
        run(words, stdin=wanted.sources, env=environment, timeout_seconds=BUILD_TIMEOUT_SECONDS)
        _record(wanted, workshop)
        os.sync()
        workshop.rename(place)
    except OSError as error:
        raise cannot(f"host image {wanted.flavour}", error) from error
    finally:
        _discard(workshop)


def _mmdebstrap(wanted: Recipe, root: Path) -> list[str]:
    hooks = (f"--customize-hook={hook}" for hook in HOOKS)
    packages = f"--include={','.join(wanted.packages)}"
    return ["mmdebstrap", "--quiet", *OPTIONS, *wanted.settings, *hooks, packages, SUITE, str(root), "-"]


def _record(wanted: Recipe, workshop: Path) -> None:
    """Write beside the tree what it was made of, the installed versions included."""
    show = ["dpkg-query", f"--admindir={workshop}/root/var/lib/dpkg", "--show", "--showformat=${Package}=${Version}\\n"]
    versions = run(show, timeout_seconds=60).splitlines()
    note = {
        "flavour": wanted.flavour,
        "digest": wanted.digest,
        "suite": SUITE,
        "packages": wanted.packages,
        "versions": versions,
    }
    (workshop / "recipe.json").write_text(json.dumps(note, indent=1))


def _discard(workshop: Path) -> None:
    if workshop.is_dir():
        shutil.rmtree(workshop)


def _apt_settings() -> tuple[str, ...]:
    """Carry over what the machine's own apt was told about the age of its archives (snapshots are old on purpose)."""
    names = ("Acquire::Check-Valid-Until", "Acquire::Check-Date")
    said = run(["apt-config", "dump", "--format", "%f %v%n", *names], timeout_seconds=30).splitlines()
    pairs = (line.partition(" ") for line in said)
    return tuple(f'--aptopt={name} "{value}"' for name, _, value in pairs if value and '"' not in value)
