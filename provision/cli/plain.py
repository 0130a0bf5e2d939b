"""Words that others wrote (hosts, inventories, callers), made harmless for a terminal. Light: nothing is imported."""

from __future__ import annotations


def plain(text: str) -> str:
    """`text` with a mark for each character that would steer a terminal or break a line."""
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)
