"""Role 'image': the booking's images are in its engine, each exactly that of its digest."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from provision.deploys.item import Item
from provision.deploys.items.images import Image as Wished
from provision.deploys.role import Role

Reference = Annotated[str, Field(pattern=r"^[a-z0-9][A-Za-z0-9._:/-]*@sha256:[0-9a-f]{64}$")]


class Image(Role):
    """Parameters: references by digest."""

    references: Annotated[tuple[Reference, ...], Field(min_length=1)]

    def items(self) -> tuple[Item, ...]:
        """One item an image."""
        return tuple(Wished(booking=self.booking, reference=reference) for reference in self.references)


ROLE = Image
