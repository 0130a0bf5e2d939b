import pytest

from tools import lock

PROJECT = (
    '[project]\nname = "toy"\ndependencies = ["Some_Thing>=2,<3"]\n[project.optional-dependencies]\ndev = ["other"]\n'
)
GOOD = "some-thing==2.1 \\\n    --hash=sha256:aa\nother==1 ; python_version < '4' \\\n    --hash=sha256:bb\n"


def test_a_lock_that_fits() -> None:
    assert list(lock.misfits(PROJECT, GOOD)) == []


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("some-thing==2.1", "some-thing==3.0", "expected what meets 'Some_Thing<3,>=2', found 3.0"),
        ("other==1", "another==1", "other: expected a pin for 'other', found none"),
        ("sha256:bb", "sha256:bb --index-url https://x.example", "requirements.lock:4: expected no address"),
        (" \\\n    --hash=sha256:aa", "", "expected a hash, found some-thing==2.1"),
    ],
)
def test_every_misfit_is_named(old: str, new: str, problem: str) -> None:
    found = list(lock.misfits(PROJECT, GOOD.replace(old, new)))
    assert any(problem in line for line in found), found
