"""Ledgers to test with: SQLite files, and databases of a real PostgreSQL that the tests start and stop."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import count
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from provision.booking.ledger import Ledger

BINARIES = Path("/usr/lib/postgresql")
LIMIT_SECONDS = 30


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """How to reach a PostgreSQL of our own on its Unix socket (libpq's words, without a database)."""
    programs = _programs()
    as_postgres = _as_postgres()
    root = Path(tempfile.mkdtemp(prefix="tl-pg-", dir="/tmp"))  # short: a socket's path ends at 107 characters
    if as_postgres:
        shutil.chown(root, "postgres", "postgres")
    server = None
    try:
        data = root / "data"
        initdb = [
            *as_postgres,
            str(programs / "initdb"),
            "-D",
            str(data),
            "-A",
            "trust",
            "-U",
            "postgres",
            "-E",
            "UTF8",
        ]
        made = subprocess.run(
            [*initdb, "--locale=C", "--no-sync"], cwd=root, capture_output=True, text=True, timeout=120, check=False
        )
        if made.returncode:
            pytest.skip(f"initdb refuses: {made.stderr.strip()}")
        server = _start(as_postgres, programs, data, root)
        yield f"host={root} user=postgres"
    finally:
        if server is not None:
            _stop(server)
        shutil.rmtree(root)


@pytest.fixture(scope="session")
def create_database(postgres: str) -> Callable[[str], str]:
    """Make a database, a copy of the named one; its URL."""
    numbers = count(1)

    def create(template: str = "template0") -> str:
        name = f"ledger_{next(numbers)}"
        with psycopg.connect(f"{postgres} dbname=postgres", autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name} TEMPLATE {template}".encode())
        return f"postgresql://postgres@/{name}?host={postgres.split()[0].removeprefix('host=')}"

    return create


@pytest.fixture(scope="session")
def new_postgresql(create_database: Callable[[str], str]) -> Callable[[], str]:
    """Make an empty ledger on PostgreSQL; its URL. Copied from one that was migrated, for speed."""
    template = create_database("template0")
    Ledger(template).close()
    return partial(create_database, str(conninfo_to_dict(template)["dbname"]))


@pytest.fixture(scope="session")
def new_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], str]:
    """Make an empty ledger on SQLite; its URL. Copied from one that was migrated, for speed."""
    root = tmp_path_factory.mktemp("ledgers")
    Ledger(f"sqlite:///{root}/template").close()
    numbers = count(1)

    def new() -> str:
        path = shutil.copy(root / "template", root / f"ledger-{next(numbers)}.sqlite")
        return f"sqlite:///{path}"

    return new


@pytest.fixture(params=["sqlite", "postgresql"])
def new_url(request: pytest.FixtureRequest) -> Callable[[], str]:
    """Make an empty ledger, on each database in turn; its URL."""
    make: Callable[[], str] = request.getfixturevalue(f"new_{request.param}")
    return make


@pytest.fixture
def url(new_url: Callable[[], str]) -> str:
    """The URL of an empty ledger, on each database in turn."""
    return new_url()


@pytest.fixture(params=["sqlite", "postgresql"])
def unmade_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a ledger that was never opened, on each database in turn."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/new/ledger.sqlite"
    create: Callable[[str], str] = request.getfixturevalue("create_database")
    return create("template0")


def _programs() -> Path:
    found = sorted(BINARIES.glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    if not found:
        pytest.skip(f"no PostgreSQL below {BINARIES}: apt-get install postgresql")
    return found[-1].parent


def _as_postgres() -> list[str]:
    """What to put before a command so that it runs as the user that PostgreSQL accepts, and ends if we are killed."""
    dies = ["setpriv", "--pdeathsig", "INT"]
    if os.geteuid() != 0:
        return dies
    return [*dies, "--reuid=postgres", "--regid=postgres", "--init-groups"]


def _start(as_postgres: list[str], programs: Path, data: Path, root: Path) -> subprocess.Popen[bytes]:
    options = {"listen_addresses": "", "unix_socket_directories": str(root), "max_connections": "260", "fsync": "off"}
    arguments = [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
    with (root / "log").open("wb") as log:
        server = subprocess.Popen(
            [*as_postgres, programs / "postgres", "-D", data, *arguments], cwd=root, stdout=log, stderr=log
        )
    until = time.monotonic() + LIMIT_SECONDS
    ready = [str(programs / "pg_isready"), "-q", "-h", str(root), "-U", "postgres", "-d", "postgres", "-t", "1"]
    while subprocess.run(ready, timeout=LIMIT_SECONDS, check=False).returncode:
        if server.poll() is not None or time.monotonic() > until:
            _stop(server)
            pytest.fail(f"PostgreSQL did not start: {(root / 'log').read_text()}")
    return server


def _stop(server: subprocess.Popen[bytes]) -> None:
    """End it at once: its data are thrown away."""
    server.send_signal(signal.SIGQUIT)
    try:
        server.wait(LIMIT_SECONDS)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()
