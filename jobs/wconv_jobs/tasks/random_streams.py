"""Random numbers that are a pure function of (seed, sample, place), bitwise so on every device.

A generator of torch gives other numbers on a GPU than on a CPU, and one per sample costs more than
the numbers. SplitMix64 (Steele, Lea and Flood 2014, doi:10.1145/2660193.2660195) is a counter with
a hash behind it: number i of a stream that starts at s is mix(s + (i + 1) * G), so that all
streams of a batch are drawn at once, in any part and order. Its streams are pieces of one cycle of
2^64 numbers: among n streams of length m, two overlap with probability n^2 m / 2^64, one in ten
thousand for a whole epoch of 100,000 samples with 200,000 numbers each.
"""

import math

import torch
from torch import Tensor

from wconv_jobs.seeding import derive_seed

# Shape letters: S samples, N numbers of each sample.


def streams(*parts: int | str, samples: Tensor) -> Tensor:
    """Return the start of a stream for each sample, int64 (S,) on the device of `samples`.

    Args:
        parts: what the numbers are for, e.g. (seed, "train noise", epoch), see `seeding`.
        samples: int64 (S,), sample numbers.
    """
    return _mix(_signed(derive_seed(*parts)) + (samples + 1) * _GOLDEN)


def below(stream_S: Tensor, limit_SN: Tensor) -> Tensor:
    """Return integers uniform in [0, limit), int64 (S, N).

    The remainder of 63 random bits is uniform to within limit / 2^63.

    Args:
        stream_S: see `streams`.
        limit_SN: int64 (S, N), at least 1.
    """
    return _shifted(_words(stream_S, limit_SN.shape[1]), 1) % limit_SN


def normal(stream_S: Tensor, count: int) -> Tensor:
    """Return standard normal numbers, float32 (S, count), at most 6.66 in size.

    Box and Muller 1958: z = sqrt(-2 ln u) (cos, sin)(2 pi v) with u and v of 32 bits. The bits are
    the same on every device; logarithm and cosine differ between devices in the last place.
    """
    half = (count + 1) // 2
    radius_SN, angle_SN = _polar(_words(stream_S, half))
    pairs = radius_SN.new_empty(len(stream_S), 2 * half)
    torch.cos(angle_SN, out=pairs[:, :half]).mul_(radius_SN)
    torch.sin(angle_SN, out=pairs[:, half:]).mul_(radius_SN)
    return pairs[:, :count]


def normal_at(stream_S: Tensor, place_SN: Tensor) -> Tensor:
    """Return the standard normal numbers at places of streams, float32 (S, N).

    Each depends on its stream and its place alone; those of `normal`, on their count as well.

    Args:
        stream_S: see `streams`.
        place_SN: int64 (S, N), at least 0.
    """
    radius_SN, angle_SN = _polar(_mix(stream_S[:, None] + (place_SN + 1) * _GOLDEN))
    return radius_SN.mul_(angle_SN.cos_())


def _signed(number: int) -> int:
    """Return the int64 with the same bits as an unsigned number of 64 bits."""
    return number - 2**64 if number >= 2**63 else number


_GOLDEN = _signed(0x9E3779B97F4A7C15)
_FIRST = _signed(0xBF58476D1CE4E5B9)
_SECOND = _signed(0x94D049BB133111EB)


def _words(stream_S: Tensor, count: int) -> Tensor:
    places_N = torch.arange(1, count + 1, dtype=torch.int64, device=stream_S.device)
    return _mix(stream_S[:, None] + places_N * _GOLDEN)


# In place: on a CPU, the noise of a batch takes as long as memory takes to move it.


def _polar(words: Tensor) -> tuple[Tensor, Tensor]:
    """Return radius and angle of a pair of independent normal numbers for each word.

    Args:
        words: are overwritten.
    """
    radius = _shifted(words, 32).add_(1).to(torch.float32).mul_(2.0**-32)
    angle = words.bitwise_and_(0xFFFFFFFF).to(torch.float32).mul_(2.0 * math.pi * 2.0**-32)
    return radius.log_().mul_(-2.0).sqrt_(), angle


def _mix(words: Tensor) -> Tensor:
    """Return SplitMix64's hash of each word; int64 wraps around as the definition asks.

    Args:
        words: are overwritten.
    """
    words.bitwise_xor_(_shifted(words, 30)).mul_(_FIRST)
    words.bitwise_xor_(_shifted(words, 27)).mul_(_SECOND)
    return words.bitwise_xor_(_shifted(words, 31))


def _shifted(words: Tensor, bits: int) -> Tensor:
    """Return the words shifted to the right with zeros; torch's own shift copies the sign."""
    return (words >> bits).bitwise_and_(2 ** (64 - bits) - 1)
