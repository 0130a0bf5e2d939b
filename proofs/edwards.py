"""Whether an Ed25519 public key is a point of small order: times eight it is nothing. Then a signature binds nothing.

RFC 8032 §5.1 for the curve and the decoding of points. Slow (a millisecond) and not of constant time, which public keys
do not need; no signature is made or checked here.
"""

from __future__ import annotations

P = 2**255 - 19
D = -121665 * pow(121666, -1, P) % P
ROOT_OF_MINUS_ONE = pow(2, (P - 1) // 4, P)
KEY_BYTES = 32

_Point = tuple[int, int]
_NOTHING: _Point = (0, 1)


def has_small_order(key: bytes) -> bool:
    """Whether the point that `key` encodes has an order that divides eight.

    Raises:
        ValueError: `key` is not the one encoding of a point of the curve.
    """
    point = _decode(key)
    for _ in range(3):
        point = _add(point, point)
    return point == _NOTHING


def _decode(key: bytes) -> _Point:
    """RFC 8032 §5.1.3, with y below p and no minus zero, so that each point has one encoding."""
    if len(key) != KEY_BYTES:
        raise ValueError(f"{len(key)} bytes instead of {KEY_BYTES}")
    number = int.from_bytes(key, "little")
    y, sign = number & (2**255 - 1), number >> 255
    if y >= P:
        raise ValueError("a coordinate that is not reduced")
    x = _square_root((y * y - 1) * pow(D * y * y + 1, -1, P) % P)
    if x == 0 and sign:
        raise ValueError("minus zero")
    return (P - x if x % 2 != sign else x, y)


def _square_root(square: int) -> int:
    root = pow(square, (P + 3) // 8, P)
    if root * root % P != square:
        root = root * ROOT_OF_MINUS_ONE % P
    if root * root % P != square:
        raise ValueError("a coordinate of no point of the curve")
    return root


def _add(one: _Point, other: _Point) -> _Point:
    """The addition law of the twisted Edwards curve with a = -1; complete, since D is no square."""
    (x1, y1), (x2, y2) = one, other
    cross = D * x1 * x2 * y1 * y2 % P
    x = (x1 * y2 + x2 * y1) * pow(1 + cross, -1, P) % P
    y = (y1 * y2 + x1 * x2) * pow(1 - cross, -1, P) % P
    return (x, y)
