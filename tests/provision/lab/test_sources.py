"""Debian's archives, read from apt's two formats."""

from __future__ import annotations

from pathlib import Path

import pytest

from provision.errors import MachineCannot
from provision.lab.sources import debian_sources

DEB822 = """
Types: deb deb-src
# a comment inside a stanza
URIs: http://archive.example/debian
Suites: bookworm
 bookworm-updates
Components: main contrib
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: http://archive.example/off
Suites: bookworm
Components: main
Enabled: no

Types: deb
URIs: http://archive.example/debian-security
Suites: bookworm-security
Components: main
"""

KEYRING = "[signed-by=/usr/share/keyrings/debian-archive-keyring.gpg]"


def sources(tmp_path: Path, name: str, text: str) -> Path:
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return tmp_path


def test_deb822(tmp_path: Path) -> None:
    apt = sources(tmp_path, "sources.list.d/debian.sources", DEB822)
    assert debian_sources(apt, codename="bookworm").splitlines() == [
        f"deb {KEYRING} http://archive.example/debian bookworm main",
        f"deb {KEYRING} http://archive.example/debian bookworm-updates main",
        "deb http://archive.example/debian-security bookworm-security main",
    ]


def test_one_line(tmp_path: Path) -> None:
    text = "# deb http://off bookworm main\ndeb [ arch=amd64 trusted=no ] http://a/debian bookworm main  # why\n"
    apt = sources(tmp_path, "sources.list", text + "deb-src http://a/debian bookworm main\n")
    assert debian_sources(apt, codename="bookworm") == "deb [ arch=amd64 trusted=no ] http://a/debian bookworm main\n"


@pytest.mark.parametrize(
    "line",
    [
        "deb https://vendor.example/linux bookworm stable",
        "deb https://vendor.example/apt bookworm-pgdg main",
        "deb https://vendor.example/apt vendor-bookworm main",
        "deb http://a/debian bookworm-backports main",
        "deb http://a/debian bookworm contrib",
        "deb",
        "deb [broken",
    ],
)
def test_other_archives_are_left_out(tmp_path: Path, line: str) -> None:
    apt = sources(tmp_path, "sources.list.d/vendor.list", f"{line}\n")
    with pytest.raises(MachineCannot, match="found none"):
        debian_sources(apt, codename="bookworm")


def test_another_release_lends_its_mirrors(tmp_path: Path) -> None:
    text = "deb http://a/debian trixie main\ndeb http://a/security trixie-security main\n"
    apt = sources(tmp_path, "sources.list", text)
    assert debian_sources(apt, codename="trixie") == (
        "deb http://a/debian bookworm main\ndeb http://a/security bookworm-security main\n"
    )


def test_the_same_line_counts_once(tmp_path: Path) -> None:
    apt = sources(tmp_path, "sources.list", "deb http://a/debian bookworm main\n" * 2)
    assert debian_sources(apt, codename="bookworm").count("deb ") == 1
