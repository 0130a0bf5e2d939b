"""Files ↔ one archive: a tar that is the same bytes for the same files, and no other bytes.

POSIX ustar (IEEE Std 1003.1-2017, pax, "ustar Interchange Format"): regular files in the order of their names, mode
0644, no owner, no time, two zero blocks at the end. So every byte of an archive is checked, its headers included.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from proofs.errors import Flaw, Rejected

BLOCK = 512
NAME_BYTES = 100
MAX_FILES = 20_000
_END = bytes(2 * BLOCK)


def pack(files: Mapping[str, bytes]) -> bytes:
    """Return the archive of these files.

    Raises:
        ValueError: a name is longer than 100 bytes, or not ASCII.
    """
    return b"".join(_entry(name, files[name]) for name in sorted(files)) + _END


def unpack(data: bytes) -> dict[str, bytes]:
    """Return the files of which `data` is the archive.

    Raises:
        Rejected: ARCHIVE for anything else, SIZE for too many files.
    """
    try:
        files = dict(_entries(data))
    except ValueError as error:
        raise Rejected(Flaw.ARCHIVE, "archive", str(error)) from error
    if pack(files) != data:
        raise Rejected(Flaw.ARCHIVE, "archive", "expected the one archive of its files, found another one")
    return files


def _entries(data: bytes) -> Iterator[tuple[str, bytes]]:
    at = 0
    for _ in range(MAX_FILES + 1):
        header = data[at : at + BLOCK]
        if len(header) < BLOCK:
            raise ValueError("cut short")
        if not any(header):
            return
        name = header[:NAME_BYTES].rstrip(b"\0").decode("ascii")
        size = int(header[124:135], 8)
        yield name, data[at + BLOCK : at + BLOCK + size]
        at += BLOCK + -(-size // BLOCK) * BLOCK
    raise Rejected(Flaw.SIZE, "archive", f"expected at most {MAX_FILES} files, found more")


def _entry(name: str, content: bytes) -> bytes:
    return _header(name, len(content)) + content + bytes(-len(content) % BLOCK)


def _header(name: str, size: int) -> bytes:
    encoded = name.encode("ascii")
    if not 0 < len(encoded) <= NAME_BYTES or size >= 8**11:
        raise ValueError(f"a name or size that no header holds: {name!r}, {size}")
    fields = (
        encoded.ljust(NAME_BYTES, b"\0"),
        b"0000644\0" + b"0000000\0" * 2,
        b"%011o\0" % size,
        b"%011o\0" % 0,
        b" " * 8,
        b"0" + bytes(100),
        b"ustar\x0000",
        bytes(2 * 32) + b"0000000\0" * 2 + bytes(155 + 12),
    )
    header = b"".join(fields)
    checksum = b"%06o\0 " % sum(header)
    return header[:148] + checksum + header[156:]
