"""Secrets of a booking: made once, private, whole."""

from __future__ import annotations

from pathlib import Path

from provision.booking.secrets import ensure_secrets, write_private
from provision.home import BookingPlace


def test_made_once_and_private(tmp_path: Path) -> None:
    place = BookingPlace(root=tmp_path / "demo").make()
    ensure_secrets(place)
    before = place.passphrase.read_text(), place.mesh_secret.read_text()
    ensure_secrets(place)
    assert (place.passphrase.read_text(), place.mesh_secret.read_text()) == before
    assert len(set(before)) == 2
    assert {path.stat().st_mode & 0o777 for path in (place.passphrase, place.mesh_secret)} == {0o600}
    assert place.root.stat().st_mode & 0o777 == 0o700


def test_nothing_half_written_is_left(tmp_path: Path) -> None:
    write_private(tmp_path / "a", "one")
    write_private(tmp_path / "a", "two")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a").read_text() == "two"


def test_what_a_crash_left_half_written_is_forgotten_too(tmp_path: Path) -> None:
    place = BookingPlace(root=tmp_path / "demo").make()
    ensure_secrets(place)
    place.mesh_secret.rename(place.mesh_secret.with_name(".mesh.secret.draft"))
    place.forget_secrets()
    assert list(place.root.iterdir()) == []
