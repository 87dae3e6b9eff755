"""Statistics of counts, for pages, commands and workers alike."""

from __future__ import annotations

import math

from jobs.merge import Z95


def wilson(successes: int, n: int) -> tuple[float, float]:
    """95 % interval of a share of n (Wilson 1927, "Probable inference"); (0, 1) for n = 0.

    Unlike mean +- 1.96 errors it stays within 0 and 1 and has a width at 0 and n successes.
    """
    if not 0 <= successes <= n:
        raise ValueError(f"{successes} successes of {n}")
    if n == 0:
        return 0.0, 1.0
    share, weight = successes / n, Z95**2 / n
    middle = share + weight / 2
    half = Z95 * math.sqrt(share * (1 - share) / n + weight / (4 * n))
    low, high = ((middle - half) / (1 + weight), (middle + half) / (1 + weight))
    # Exact at the ends, where rounding would leave 1e-17.
    return (0.0 if successes == 0 else low), (1.0 if successes == n else high)
