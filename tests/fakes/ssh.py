"""Commands on lab hosts through OpenSSH's own client, the host key checked against the lab's record of it."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

from provision.lab.lab import Lab

LIMIT_SECONDS = 60


@dataclass(frozen=True)
class Ssh:
    folder: Path

    def run(self, lab: Lab, host: str, command: str) -> subprocess.CompletedProcess[str]:
        """Run it and give status and both outputs."""
        there = lab.host(host)
        known = self.folder / f"{host}-{there.index}"
        known.write_text(f"{there.address} {there.public_key}\n")
        options = ("BatchMode=yes", "StrictHostKeyChecking=yes", f"UserKnownHostsFile={known}", "LogLevel=ERROR")
        words = ["ssh", "-F", "none", "-i", str(lab.key_file), *(f"-o{option}" for option in options)]
        return subprocess.run(
            [*words, f"root@{there.address}", command],
            capture_output=True, text=True, check=False, timeout=LIMIT_SECONDS, stdin=subprocess.DEVNULL,
        )  # fmt: skip

    def __call__(self, lab: Lab, host: str, command: str) -> str:
        """Run it and give its output; a status other than 0 fails the test."""
        done = self.run(lab, host, command)
        assert done.returncode == 0, f"{host}: {command}: status {done.returncode}: {done.stdout}{done.stderr}"
        return done.stdout
