"""Where this machine gets Debian packages, so that what the lab builds comes from the same place.

Knows apt's two file formats and nothing of images. Only Debian's own archives are taken; other vendors' are not.
"""

from __future__ import annotations

import platform
from collections.abc import Iterator
from pathlib import Path

from provision.errors import MachineCannot
from provision.lab.tool import run

SUITE = "bookworm"
POCKETS = ("", "-updates", "-security")


def debian_sources(apt: Path = Path("/etc/apt"), *, codename: str | None = None) -> str:
    """Give the machine's Debian archives as one-line apt sources of the suite that the lab uses.

    A machine of another Debian release lends its mirrors: its own code name is replaced by the lab's.
    Raises MachineCannot where no Debian archive is configured.
    """
    own = codename or _codename()
    found: dict[str, None] = {}
    for path in sorted(
        [apt / "sources.list", *apt.glob("sources.list.d/*.list"), *apt.glob("sources.list.d/*.sources")]
    ):
        if path.is_file():
            entries = _stanzas(path.read_text()) if path.suffix == ".sources" else _lines(path.read_text())
            found.update((line, None) for entry in entries if (line := _as_ours(*entry, own)))
    if not found:
        raise MachineCannot(
            f"expected apt sources of Debian {own} in {apt}, found none",
            next_step=f"add Debian's archive to {apt}/sources.list, run apt-get update, and try again",
        )
    return "".join(f"{line}\n" for line in found)


def apt_options() -> tuple[str, ...]:
    """Give what the machine's apt was told of its archives' age (a snapshot is old on purpose), for mmdebstrap."""
    names = ("Acquire::Check-Valid-Until", "Acquire::Check-Date")
    said = run(["apt-config", "dump", "--format", "%f %v%n", *names], timeout_seconds=30).splitlines()
    pairs = (line.partition(" ") for line in said)
    return tuple(f'--aptopt={name} "{value}"' for name, _, value in pairs if value in ("true", "false"))


def _codename() -> str:
    try:
        return platform.freedesktop_os_release().get("VERSION_CODENAME", SUITE)
    except OSError:
        return SUITE


def _as_ours(options: str, uri: str, suite: str, components: tuple[str, ...], own: str) -> str | None:
    pocket = suite.removeprefix(own)
    if not suite.startswith(own) or pocket not in POCKETS or "main" not in components:
        return None
    return " ".join(filter(None, ("deb", options, uri, f"{SUITE}{pocket}", "main")))


def _lines(text: str) -> Iterator[tuple[str, str, str, tuple[str, ...]]]:
    """Read the one-line format: `deb [options] uri suite components…`."""
    for line in text.splitlines():
        words = line.partition("#")[0].split()
        if not words or words[0] != "deb":
            continue
        options = ""
        if len(words) > 1 and words[1].startswith("["):
            end = next((i for i, word in enumerate(words) if word.endswith("]")), 1)
            options, words = " ".join(words[1 : end + 1]), [words[0], *words[end + 1 :]]
        if len(words) > 3:
            yield options, words[1], words[2], tuple(words[3:])


def _stanzas(text: str) -> Iterator[tuple[str, str, str, tuple[str, ...]]]:
    """Read the deb822 format: stanzas of fields, continued on indented lines."""
    for stanza in "\n".join(line for line in text.splitlines() if not line.startswith("#")).split("\n\n"):
        fields: dict[str, str] = {}
        name = ""
        for line in stanza.splitlines():
            if line[:1].isspace():
                fields[name] = f"{fields.get(name, '')} {line.strip()}"
            elif ":" in line:
                name, _, value = line.partition(":")
                name = name.strip().lower()
                fields[name] = value.strip()
        if "deb" not in fields.get("types", "").split() or fields.get("enabled", "yes").lower() == "no":
            continue
        keyring = fields.get("signed-by", "")
        options = f"[signed-by={keyring}]" if keyring.startswith("/") else ""
        for uri in fields.get("uris", "").split():
            for suite in fields.get("suites", "").split():
                yield options, uri, suite, tuple(fields.get("components", "").split())
