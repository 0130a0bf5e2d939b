"""What a window costs: rates are millionths of a currency per hour, for all GPUs of a booking together.

The total is exact to the second and rounded once, half up, to a millionth.
"""

from __future__ import annotations

HOUR_SECONDS = 3600


def total_micros(rate_micros_per_hour: int, seconds: int) -> int:
    """Return what `seconds` cost at an hourly rate."""
    return (rate_micros_per_hour * seconds + HOUR_SECONDS // 2) // HOUR_SECONDS


def highest_rate(max_total_micros: int, seconds: int) -> int:
    """Return the highest hourly rate whose total for `seconds` stays within `max_total_micros`."""
    return ((max_total_micros + 1) * HOUR_SECONDS - HOUR_SECONDS // 2 - 1) // seconds
