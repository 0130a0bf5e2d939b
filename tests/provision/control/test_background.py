"""The log of a control plane in the background does not grow for ever."""

from pathlib import Path

from provision.control.background import keep_small


def test_a_log_is_put_aside_only_when_it_is_too_large(tmp_path: Path) -> None:
    log, aside = tmp_path / "log", tmp_path / "log.1"
    keep_small(log, 3)
    assert not aside.exists()
    log.write_text("abc")
    keep_small(log, 3)
    assert (log.read_text(), aside.exists()) == ("abc", False)
    for content in ("first", "second"):
        log.write_text(content)
        keep_small(log, 3)
        assert (log.exists(), aside.read_text()) == (False, content)
