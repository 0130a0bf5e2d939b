"""What a customer wants: the Request as written, and the Accepted one, in which nothing is left to the moment.

Values only; text is read in parse.py. `Request.accept` is the one place where 'now' and the image's tag are resolved.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from proofs import canonical
from provision import units
from provision.errors import InvalidInput
from provision.request.needs import Egress, GpuNeed, Leaf, Near, Price, RayOptions, Section, SupplierWish, Window, Wish

__all__ = [
    "Accepted",
    "Egress",
    "GpuNeed",
    "Near",
    "Origin",
    "Price",
    "RayOptions",
    "Request",
    "SupplierWish",
    "Window",
    "Wish",
    "difference",
]

Document: TypeAlias = dict[str, Section | Leaf]

IMAGE_BY_DIGEST = re.compile(r"[a-z0-9][A-Za-z0-9._:-]*(/[a-z0-9][a-z0-9._-]*)+@sha256:[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where a request was written: its name and the line of each field, for messages."""

    source: str = "request"
    lines: Mapping[str, int] = field(default_factory=dict)

    def problem(self, name: str, message: str) -> str:
        """Return 'request.yaml:4: gpu.count: message'; a field that was not written has its parent's line."""
        parent = name
        while parent and parent not in self.lines:
            parent = parent.rpartition(".")[0]
        place = f"{self.source}:{self.lines[parent]}" if parent in self.lines else self.source
        return f"{place}: {name}: {message}" if name else f"{place}: {message}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """A Request at a given instant: absolute window, image by digest. What is matched and planned."""

    name: str
    gpu: GpuNeed
    start_ns: int
    end_ns: int
    near: Near
    price: Price
    supplier: SupplierWish
    image: str
    egress: tuple[Egress, ...]
    ray: RayOptions
    request_digest: str

    @property
    def seconds(self) -> int:
        """The window's length in seconds, a part of one counting as a whole."""
        return -((self.start_ns - self.end_ns) // units.NANOSECONDS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """`request.yaml`, understood. Equal requests have equal digests, however they were written."""

    name: str
    gpu: GpuNeed
    window: Window
    image: str
    near: Near = field(default_factory=Near)
    price: Price = field(default_factory=Price)
    supplier: SupplierWish = field(default_factory=SupplierWish)
    egress: tuple[Egress, ...] = ()
    ray: RayOptions = field(default_factory=RayOptions)
    origin: Origin = field(default_factory=Origin, compare=False, repr=False)

    def accept(self, now_ns: int, image_reference: str) -> Accepted:
        """Fix the window at `now_ns` and the image to `image_reference` ('registry/repo@sha256:…').

        Given a booking's own start and image, it gives the same Accepted again.

        Raises:
            InvalidInput: the window has begun or ended, or the image is not named by digest.
        """
        start_ns, end_ns = self._window_at(now_ns)
        if problems := (*self._too_late(now_ns), *self._not_by_digest(image_reference)):
            raise InvalidInput(problems)
        return Accepted(
            name=self.name,
            gpu=self.gpu,
            start_ns=start_ns,
            end_ns=end_ns,
            near=self.near,
            price=self.price,
            supplier=self.supplier,
            image=image_reference,
            egress=self.egress,
            ray=self.ray,
            request_digest=self.digest(),
        )

    def refuse_at_once(self, now_ns: int) -> None:
        """Refuse what no supply can change, before anybody is asked for it.

        Raises:
            InvalidInput: the window has begun or ended, or a way out of the mesh is asked for.
        """
        problems = list(self._too_late(now_ns))
        if self.egress:
            expected = "expected none: this version opens no way out of the mesh"
            problems.append(self.origin.problem("egress", f"{expected}, found {', '.join(map(str, self.egress))}"))
        if problems:
            raise InvalidInput(tuple(problems))

    def document(self) -> Document:
        """Return the request as nested plain values, without what is not limited."""
        sections: Document = {
            "name": self.name,
            "gpu": self.gpu.document(),
            "window": self.window.document(),
            "near": self.near.document(),
            "price": self.price.document(),
            "supplier": self.supplier.document(),
            "image": self.image,
            "egress": [str(rule) for rule in self.egress],
            "ray": self.ray.document(),
        }
        return _written(sections)

    def digest(self) -> str:
        """Return the SHA-256 (hex) of the canonical form of what was asked, whatever its order, spelling or units."""
        return hashlib.sha256(canonical.encode(self.document())).hexdigest()

    def _window_at(self, now_ns: int) -> tuple[int, int]:
        start_ns = now_ns if self.window.start_ns is None else self.window.start_ns
        end_ns = self.window.end_ns if self.window.end_ns is not None else start_ns + (self.window.duration_ns or 0)
        return start_ns, end_ns

    def _too_late(self, now_ns: int) -> Iterator[str]:
        start_ns, end_ns = self._window_at(now_ns)
        start, end, now = map(units.format_instant, (start_ns, end_ns, now_ns))
        if start_ns < now_ns:
            expected = "expected 'now' or a later instant"
            yield self.origin.problem("window.start", f"{expected}, found {start}, which is past (it is {now})")
        if end_ns <= max(start_ns, now_ns):
            yield self.origin.problem("window.end", f"expected an instant after {max(start, now)}, found {end}")

    def _not_by_digest(self, image: str) -> Iterator[str]:
        if not IMAGE_BY_DIGEST.fullmatch(image):
            yield self.origin.problem("image", f"expected registry/repository@sha256:…, found {image!r}")


def difference(old: Request, new: Request) -> tuple[str, ...]:
    """Return what changed, a line a field: 'gpu.count: 6 → 4'. Empty when the digests are equal."""
    before, after = dict(_leaves(old.document())), dict(_leaves(new.document()))
    names = [*before, *(name for name in after if name not in before)]
    changes = ((name, before.get(name, "nothing"), after.get(name, "nothing")) for name in names)
    return tuple(f"{name}: {was} → {became}" for name, was, became in changes if was != became)


def _written(document: Document) -> Document:
    """Drop what says nothing, so that a field left out and a field left empty are the same."""
    kept = {name: _said(value) if isinstance(value, dict) else value for name, value in document.items()}
    return {name: value for name, value in kept.items() if value not in (None, [], {})}


def _said(section: Section) -> Section:
    return {name: value for name, value in section.items() if value not in (None, [])}


def _leaves(document: Mapping[str, Section | Leaf], prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, value in document.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield prefix + name, ", ".join(value) if isinstance(value, list) else str(value)
