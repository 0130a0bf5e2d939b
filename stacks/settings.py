"""Where a stack's things are, which CLI drives it, and with what environment.

The only module that reads environment variables for Pulumi or spells the names of Pulumi's files.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from stacks.errors import EngineFailed, PassphraseWrong

PULUMI_VERSION = "3.259.0"
PROJECT = "timelock"
CLI_VARIABLE = "TIMELOCK_PULUMI"
PROVIDER_COMMAND = "pulumi-resource-timelock"
QUIET = {
    "PULUMI_SKIP_UPDATE_CHECK": "1",
    "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "1",
    "PULUMI_DISABLE_REGISTRY_RESOLVE": "1",
    "PULUMI_AUTOMATION_API_SKIP_VERSION_CHECK": "1",
    "PULUMI_DIY_BACKEND_NO_LEGACY_WARNING": "1",
    "PULUMI_DIY_BACKEND_DISABLE_CHECKPOINT_BACKUPS": "1",
    "PULUMI_FALLBACK_TO_STATE_SECRETS_MANAGER": "1",
    "PULUMI_LOG_ROTATION_MAX_TOTAL_MB": "20",
    "NO_COLOR": "1",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class StackPlace:
    """Where the stack of a booking lives. `worker` is the command of the worker server, `pulumi` the CLI's path."""

    work_dir: str
    backend_url: str
    pulumi_home: str
    passphrase_file: str
    mesh_secret_file: str
    journal: str
    worker: tuple[str, ...]
    pulumi: str

    @property
    def login_url(self) -> str:
        """The backend as the CLI is told of it: without sidecar files, for one that a crash leaves empty is fatal."""
        url = urlsplit(self.backend_url)
        plain_file = url.scheme == "file" and not url.query
        return f"{self.backend_url}?metadata=skip" if plain_file else self.backend_url

    @property
    def backend_dir(self) -> Path | None:
        """The directory of a file:// backend; None for any other."""
        url = urlsplit(self.backend_url)
        return Path(unquote(url.netloc + url.path)) if url.scheme == "file" else None

    def state_file(self, stack: str) -> Path | None:
        """The state of a stack in a file:// backend."""
        return self.backend_dir and self.backend_dir / ".pulumi" / "stacks" / PROJECT / f"{stack}.json"

    def lock_dir(self, stack: str) -> Path | None:
        """The locks of a stack in a file:// backend."""
        return self.backend_dir and self.backend_dir / ".pulumi" / "locks" / "organization" / PROJECT / stack

    def remains(self, stack: str) -> tuple[Path, ...]:
        """What a stack can leave in a file:// backend besides its state: earlier states, history, locks."""
        if self.backend_dir is None:
            return ()
        pulumi = self.backend_dir / ".pulumi"
        kinds = ("history", "backups", "locks/organization")
        state = pulumi / "stacks" / PROJECT / f"{stack}.json"
        return (*(pulumi / kind / PROJECT / stack for kind in kinds), *state.parent.glob(f"{state.name}.*"))

    def make(self) -> None:
        """Create the directories and the project file, private to their owner.

        Raises:
            PassphraseWrong: there is no passphrase, so that no state could be opened or made.
        """
        for directory in (Path(self.work_dir), Path(self.pulumi_home), self.backend_dir):
            if directory is not None:
                directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        project = Path(self.work_dir) / "Pulumi.yaml"
        if not project.exists():
            project.write_text(f"name: {PROJECT}\nruntime: python\ndescription: a booking of Timelock\n")
        passphrase = Path(self.passphrase_file)
        words = passphrase.read_bytes() if passphrase.is_file() else b""
        if not words.strip() or not words.isascii():
            raise PassphraseWrong(
                f"{passphrase}: expected the passphrase of the stack, found none",
                next_step="put the file back from your backup: without it the stack's secrets cannot be opened",
            )

    def environment(self, environ: Mapping[str, str] = os.environ) -> dict[str, str]:
        """The environment of the CLI and, through it, of the provider; it holds no secret."""
        kept = {name: value for name, value in environ.items() if not name.startswith("PULUMI_")}
        return {
            **kept,
            **QUIET,
            "PATH": os.pathsep.join((str(_provider_dir()), environ.get("PATH", os.defpath))),
            "PULUMI_BACKEND_URL": self.login_url,
            "PULUMI_HOME": self.pulumi_home,
            "PULUMI_CONFIG_PASSPHRASE_FILE": self.passphrase_file,
            "TIMELOCK_WORKER": json.dumps(self.worker),
            "TIMELOCK_JOURNAL": self.journal,
        }


def find_pulumi(tools: Path | None = None, environ: Mapping[str, str] = os.environ) -> Path:
    """The Pulumi CLI: TIMELOCK_PULUMI, else the one that make built below `tools`, else the first on PATH.

    Raises:
        EngineFailed: there is none.
    """
    built = tools / f"pulumi-{PULUMI_VERSION}" / "pulumi" if tools is not None else None
    named = environ.get(CLI_VARIABLE)
    on_path = shutil.which("pulumi", path=environ.get("PATH"))
    for candidate in (named and Path(named), built, on_path and Path(on_path)):
        if candidate and os.access(candidate, os.X_OK):
            return candidate
    raise EngineFailed(
        f"expected the Pulumi CLI {PULUMI_VERSION} at {built or 'the tools directory'} or on PATH, found none",
        next_step="run `make setup`, or set TIMELOCK_PULUMI to its path",
    )


def _provider_dir() -> Path:
    """The directory of our console scripts, in which Pulumi finds the provider."""
    import sys

    beside = Path(sys.executable).parent
    found = shutil.which(PROVIDER_COMMAND)
    return beside if (beside / PROVIDER_COMMAND).exists() or found is None else Path(found).parent
