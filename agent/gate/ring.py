"""The reading end of a BPF ring buffer, over mmap; the kernel's end is kernel/bpf/ringbuf.c.

The ring is a consumer's page that we write, a producer's page that we read, and the data, mapped twice in a row so that
no record is ever cut. Both positions are in the kernel's memory: who opens a pinned ring goes on where another stopped.

Memory order. The kernel publishes with store-release (producer position) and xchg (header, after the data); we need
load-acquire for both, and store-release for our position. On x86-64 each plain aligned load is an acquire and each
plain store a release (Intel SDM vol. 3A, "Memory Ordering"), and the interpreter, whose loads are calls into C, gives
the compiler nothing to reorder. What is needed besides is that a position is moved in one piece: an indexed
`memoryview.cast("Q")` copies eight bytes at once, where `struct` with an explicit byte order goes byte by byte.
The gate refuses other architectures.

Waiting. The kernel wakes us only if we had read all there was when it committed. Our store and the kernel's look at it
may cross, so before sleeping the ring must be looked at again: poll(2) does, and so does epoll when level-triggered.
"""

from __future__ import annotations

import contextlib
import mmap
import select
from collections.abc import Iterator
from typing import Self

BUSY = 1 << 31  # BPF_RINGBUF_BUSY_BIT: the record is still being written
DISCARDED = 1 << 30  # BPF_RINGBUF_DISCARD_BIT: its writer gave it up
HEADER_BYTES = 8  # struct bpf_ringbuf_hdr: length and page offset
ALIGNMENT_BYTES = 8


def records(data: memoryview, position: int, end: int) -> Iterator[tuple[bytes | None, int]]:
    """Give each finished record between two positions, or None for a discarded one, and the position after it.

    `data` is the ring's data twice in a row. It ends before the first record that is still being written.
    """
    size = len(data) // 2
    headers = data.cast("I")
    try:
        while position < end:
            at = position & (size - 1)
            header = headers[at // 4]
            if header & BUSY:
                return
            length = header & ~(BUSY | DISCARDED)
            position += -(-(length + HEADER_BYTES) // ALIGNMENT_BYTES) * ALIGNMENT_BYTES
            at += HEADER_BYTES
            yield None if header & DISCARDED else bytes(data[at : at + length]), position
    finally:
        headers.release()


class Ring:
    """One ring buffer map, mapped. There must be one reader at a time; `fileno` can be polled."""

    def __init__(self, fd: int, size_bytes: int) -> None:
        self._fd = fd
        with contextlib.ExitStack() as opened:
            own = opened.enter_context(mmap.mmap(fd, mmap.PAGESIZE))
            theirs = opened.enter_context(
                mmap.mmap(fd, mmap.PAGESIZE + 2 * size_bytes, prot=mmap.PROT_READ, offset=mmap.PAGESIZE)
            )
            self._consumer = opened.enter_context(memoryview(own).cast("Q"))
            view = opened.enter_context(memoryview(theirs))
            self._producer = opened.enter_context(view[: mmap.PAGESIZE].cast("Q"))
            self._data = opened.enter_context(view[mmap.PAGESIZE :])
            self._mapped = opened.pop_all()

    def __enter__(self) -> Self:
        """Return self; leaving the block unmaps."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close."""
        self.close()

    def fileno(self) -> int:
        """The descriptor to poll."""
        return self._fd

    @property
    def unread_bytes(self) -> int:
        """How much lies in the ring."""
        return self._producer[0] - self._consumer[0]

    def read(self) -> Iterator[bytes]:
        """Give the records that are there. One is marked as read when the next is asked for: at least once, never less.

        Who stops in the middle, or dies, finds the last one again.
        """
        for record, after in records(self._data, self._consumer[0], self._producer[0]):
            if record is not None:
                yield record
            self._consumer[0] = after

    def wait(self, timeout_seconds: float) -> bool:
        """Wait until there is something to read; false when the time is over."""
        poll = select.poll()
        poll.register(self._fd, select.POLLIN)
        return bool(poll.poll(timeout_seconds * 1000))

    def close(self) -> None:
        """Unmap; the descriptor stays the caller's."""
        self._mapped.close()
