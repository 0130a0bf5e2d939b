"""SSH key pairs: made once, whole, private."""

import stat
from pathlib import Path

import pytest

from provision.lab.keys import make_key_pair


def test_a_pair_is_made_once(tmp_path: Path) -> None:
    key = tmp_path / "ssh" / "id_ed25519"
    make_key_pair(key, "lab-a1")
    first = key.read_bytes()
    make_key_pair(key, "lab-a1")
    assert key.read_bytes() == first
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert sorted(path.name for path in key.parent.iterdir()) == ["id_ed25519", "id_ed25519.pub"]


@pytest.mark.parametrize("left", [".new_id_ed25519", ".new_id_ed25519.pub", "id_ed25519.pub"])
def test_one_whose_making_was_cut_short_is_made_again(tmp_path: Path, left: str) -> None:
    (tmp_path / left).write_text("half")
    make_key_pair(tmp_path / "id_ed25519", "lab-a1")
    public = (tmp_path / "id_ed25519.pub").read_text()
    assert public.startswith("ssh-ed25519 AAAA")
    assert public.endswith(" lab-a1\n")
    assert (tmp_path / "id_ed25519").read_text().startswith("-----BEGIN OPENSSH")
