"""README's help text against the program: `write` puts it there, `check` says where they differ.

A block of README between `<!-- help: timelock book -->` and `<!-- /help -->` is what `timelock book --help` prints.
"""

from __future__ import annotations

import difflib
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
BLOCK = re.compile(r"(?P<open><!-- help: (?P<command>[^\n]+?) -->\n).*?(?P<close><!-- /help -->)", re.DOTALL)
PLAIN = {"COLUMNS": "100", "TERM": "dumb", "NO_COLOR": "1"}


def main(arguments: list[str]) -> int:
    """Run `write` or `check`."""
    if arguments not in (["write"], ["check"]):
        print("usage: tools/readme.py write | check")
        return 2
    old = README.read_text()
    new = BLOCK.sub(lambda block: f"{block['open']}```text\n{help_text(block['command'])}\n```\n{block['close']}", old)
    if arguments == ["write"]:
        README.write_text(new)
        return 0
    for line in difflib.unified_diff(old.splitlines(), new.splitlines(), "README.md", "the program", lineterm=""):
        print(line)
    if old != new:
        print("make readme writes the program's help text into README")
    return int(old != new)


def help_text(command: str) -> str:
    """Return what `command --help` prints on a plain terminal of 100 columns."""
    program, *words = shlex.split(command)
    run = [str(Path(sys.executable).with_name(program)), *words, "--help"]
    result = subprocess.run(run, capture_output=True, text=True, env=os.environ | PLAIN, timeout=60, check=True)
    return "\n".join(line.rstrip() for line in result.stdout.strip().splitlines())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
