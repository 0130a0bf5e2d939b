"""The skip report, by running pytest on small suites of its own."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SUITE = """
import pytest

@pytest.mark.lab
def test_host():
    pytest.skip("no lab here")

def test_pure():
    pytest.skip("not today")

def test_runs():
    pass
"""


def run(directory: Path, *arguments: str, ci: str = "") -> subprocess.CompletedProcess[str]:
    (directory / "conftest.py").write_text('pytest_plugins = ("tests.plugins.skips",)\n')
    (directory / "pytest.ini").write_text(f"[pytest]\npythonpath = {ROOT}\nmarkers =\n    lab: real hosts\n")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments, str(directory)]
    return subprocess.run(
        command, capture_output=True, text=True, env={"CI": ci}, cwd=directory, timeout=120, check=False
    )


@pytest.mark.parametrize("workers", [(), ("-n", "2")])
def test_lists_every_skip_with_its_reason(tmp_path: Path, workers: tuple[str, ...]) -> None:
    (tmp_path / "test_suite.py").write_text(SUITE)
    result = run(tmp_path, *workers)
    assert result.returncode == 0, result.stdout
    assert "Skipped (2):" in result.stdout
    assert "test_suite.py::test_host" in result.stdout
    assert ": no lab here" in result.stdout
    assert ": not today" in result.stdout


@pytest.mark.parametrize("workers", [(), ("-n", "2")])
def test_in_ci_a_skipped_lab_test_fails_the_run(tmp_path: Path, workers: tuple[str, ...]) -> None:
    (tmp_path / "test_suite.py").write_text(SUITE)
    result = run(tmp_path, *workers, ci="true")
    assert result.returncode == 1, result.stdout
    assert "1 of these must not be skipped: test_suite.py::test_host" in result.stdout


def test_in_ci_a_skipped_pure_test_is_only_listed(tmp_path: Path) -> None:
    (tmp_path / "test_suite.py").write_text(SUITE.replace("@pytest.mark.lab", ""))
    assert run(tmp_path, ci="true").returncode == 0


@pytest.mark.parametrize("workers", [(), ("-n", "2")])
def test_in_ci_a_module_that_skips_itself_fails_the_run(tmp_path: Path, workers: tuple[str, ...]) -> None:
    module = 'import pytest\npytest.skip("no docker", allow_module_level=True)\n'
    (tmp_path / "test_module.py").write_text(module)
    (tmp_path / "test_suite.py").write_text("def test_runs():\n    pass\n")
    result = run(tmp_path, *workers, ci="true")
    assert result.returncode == 1, result.stdout
    assert "test_module.py: no docker" in result.stdout
