"""Seeds that are pure functions of what they are for, so that no draw depends on another.

A seed is derived from the study's seed and a role, e.g. ("init", layer), ("order", epoch) or
("validation noise", image). The density is never a part: trials that differ in their density alone
share initial weights, data order and noise. Importing this module does not import torch.
"""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def derive_seed(*parts: int | str) -> int:
    """Return a seed in [0, 2**63) that depends on the parts, their types and their order alone.

    seed = the first 63 bits of SHA-256 of the parts as a JSON list, hence the same on every
    machine and Python version; ("a", "bc") and ("ab", "c") differ, and so do 1 and "1".

    Raises:
        TypeError: a part is neither an int nor a str (bool and float included).
    """
    for part in parts:
        if type(part) not in (int, str):
            raise TypeError(f"a seed is derived from int and str, got {part!r} in {parts!r}")
    encoded = json.dumps(parts, separators=(",", ":")).encode("ascii")
    return int.from_bytes(hashlib.sha256(encoded).digest()[:8], "big") >> 1


def generator(*parts: int | str) -> "torch.Generator":
    """Return a new CPU generator seeded with `derive_seed(*parts)`.

    PyTorch's CPU generator uses only the lowest 32 bits of the seed: among 40,000
    generators, two draw the same numbers with a probability of 17 %. Two noisy crops of a long run
    may thus share their noise, which no training notices.
    """
    import torch  # here, because a login node derives seeds and has no use for torch

    return torch.Generator().manual_seed(derive_seed(*parts))


@contextmanager
def drawing_from(seed: int) -> Iterator[None]:
    """Seed torch's global generator inside of the block, and restore it after it.

    For the user's code, which may draw from it: its draws must be the same for every
    density and on every rank.
    """
    import torch  # here, see above

    with torch.random.fork_rng(devices=[]):
        # Not torch.manual_seed, which seeds the GPUs as well, and nothing restores those.
        torch.default_generator.manual_seed(seed)
        yield
