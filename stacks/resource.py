"""A resource of a booking's stack: what is to be on a host, after what, and what is filled in when that is known."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass

from stacks.protocol import Connection

Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Take:
    """Put the output at `output` of the resource `resource` into the params at `path`."""

    path: Path
    resource: str
    output: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class PresharedKey:
    """Put the preshared key of these two hosts into the params at `path`, as a secret."""

    path: Path
    pair: tuple[str, str]
    generation: int

    def derive(self, secret: bytes) -> str:
        """The key: 32 bytes in base64, the same for both hosts of the pair."""
        message = "\n".join(("timelock preshared key", *sorted(self.pair), str(self.generation)))
        return base64.b64encode(hmac.new(secret, message.encode(), hashlib.sha256).digest()).decode()


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """One role on one host: what is to be there (`params`), after what (`needs`), and what is filled in later."""

    name: str
    role: str
    host: str
    connection: Connection
    params: Mapping[str, object]
    needs: tuple[str, ...] = ()
    takes: tuple[Take, ...] = ()
    keys: tuple[PresharedKey, ...] = ()

    @property
    def after(self) -> tuple[str, ...]:
        """The names of all resources it comes after, each once."""
        return tuple(dict.fromkeys((*self.needs, *(take.resource for take in self.takes))))
