"""Quantiles of Student's t: `status` needs them, and the import of SciPy would double its time."""

import math

_BISECTIONS = 60
"""Each halves the interval; so many leave nothing in double precision."""


def student_quantile(degrees: int, level: float) -> float:
    """Return t with P(|T| < t) = level.

    With theta = atan(t / sqrt(n)), s = sin theta and c = cos theta,

        P = s (1 + c^2 / 2 + 1*3 / (2*4) c^4 + ... up to c^(n-2))                    n even
        P = 2/pi (theta + s (c + 2/3 c^3 + 2*4 / (3*5) c^5 + ... up to c^(n-2)))     n odd

    (Abramowitz and Stegun 1964, equations 26.7.3 and 26.7.4), solved for theta by bisection.

    Args:
        degrees: of freedom n, at least 1.
        level: probability, at least 0 and below 1.
    """
    low, high = 0.0, math.pi / 2
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        if _within(degrees, middle) < level:
            low = middle
        else:
            high = middle
    return math.sqrt(degrees) * math.tan(low)


def _within(degrees: int, theta: float) -> float:
    odd = degrees % 2
    cosine = math.cos(theta)
    total, term = 0.0, cosine if odd else 1.0
    for power in range(odd, degrees - 1, 2):
        total += term
        term *= cosine**2 * (power + 1) / (power + 2)
    series = math.sin(theta) * total
    return 2 / math.pi * (theta + series) if odd else series
