"""`timelock-verify --trust TRUST.json BUNDLE`: the only place of this package that reads files, prints and exits.

Works offline; needs nothing of Timelock but this package.
"""

from __future__ import annotations

import argparse
import json
import stat
import sys
from pathlib import Path

from proofs import archive, bundle, report
from proofs.errors import Flaw, ProofError, Rejected
from proofs.trust import LIMIT_BYTES, Trust
from proofs.verdict import Outcome, judge

EXIT = {Outcome.PROVEN: 0, Outcome.VIOLATED: 1, Outcome.UNPROVEN: 3}
CANNOT_JUDGE, REJECTED = 2, 7
BUNDLE_LIMIT_BYTES = 4 * 1024**3
CODES = """\
exit codes:
  0  PROVEN
  1  VIOLATED
  2  could not judge: usage, no trust root, a file that cannot be read
  3  UNPROVEN
  7  evidence rejected: malformed or forged
"""


def main(arguments: list[str] | None = None) -> int:
    """Verify a bundle and return the exit code."""
    options = _parser().parse_args(arguments)
    try:
        return _verify(options.bundle, options.trust, as_json=options.json)
    except Rejected as rejected:
        return _refused(rejected, REJECTED, as_json=options.json, outcome="REJECTED", flaw=rejected.flaw.value)
    except ProofError as error:
        return _refused(error, CANNOT_JUDGE, as_json=options.json)
    except OSError as error:
        failed = ProofError(f"{error.filename}: expected a file that can be read, found: {error.strerror}")
        return _refused(failed, CANNOT_JUDGE, as_json=options.json)


def script() -> None:
    """Be the command `timelock-verify`."""
    sys.exit(main())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="timelock-verify",
        description="Check a Proof of Time-Lock, offline: was anybody else on the booked GPUs between T1 and T2?",
        epilog=CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("bundle", type=Path, metavar="BUNDLE", help="the bundle: a directory or a .tar")
    parser.add_argument("--trust", type=Path, metavar="TRUST.json", help="whom you trust, got by another way")
    parser.add_argument("--json", action="store_true", help="one JSON document on standard output")
    return parser


def _verify(place: Path, trust_file: Path | None, *, as_json: bool) -> int:
    if trust_file is None:
        raise ProofError(
            "expected --trust TRUST.json, found none: without a root that you trust, anybody could have signed this",
            next_step="get trust.json from whom you trust, by another way than the bundle",
        )
    trust = Trust.parse(_read(trust_file, LIMIT_BYTES), str(trust_file))
    evidence = bundle.read(_files(place), trust)
    verdict = judge(evidence.grant, evidence.testimonies)
    if as_json:
        print(json.dumps(report.document(evidence, verdict), indent=1))
    else:
        print("\n".join(report.plain(line) for line in report.lines(evidence, verdict)))
    return EXIT[verdict.outcome]


def _files(place: Path) -> dict[str, bytes]:
    """All files of a bundle; what is neither file nor directory does not belong there."""
    if not place.is_dir():
        return archive.unpack(_read(place, BUNDLE_LIMIT_BYTES))
    files, left = dict[str, bytes](), BUNDLE_LIMIT_BYTES
    for path in sorted(place.rglob("*")):
        name, kind = path.relative_to(place).as_posix(), path.lstat().st_mode
        if stat.S_ISREG(kind):
            files[name] = _read(path, left)
            left -= len(files[name])
        elif not stat.S_ISDIR(kind):
            raise Rejected(Flaw.FILES, name, "neither a file nor a directory")
    return files


def _read(path: Path, limit_bytes: int) -> bytes:
    with path.open("rb") as file:
        data = file.read(limit_bytes + 1)
    if len(data) > limit_bytes:
        raise Rejected(Flaw.SIZE, str(path), f"expected at most {limit_bytes} bytes, found more")
    return data


def _refused(error: ProofError, code: int, *, as_json: bool, **more: str) -> int:
    if as_json and more:
        print(json.dumps({"v": 1, **more, "message": error.message}, indent=1))
    else:
        label = f"{more['outcome']}: " if more else "error: "
        print(report.plain(f"{label}{error.message}"), file=sys.stderr)
        if error.next_step:
            print(f"  → {error.next_step}", file=sys.stderr)
    return code


if __name__ == "__main__":
    script()
