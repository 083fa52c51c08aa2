"""Small synthetic images, to try out a whole study without its real data."""

import hashlib
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from wconv_jobs.files.prepared import write_file

# Shape letters: H height, W width, C channels.


def write_pictures(folder: Path, names: Sequence[str]) -> None:
    """Write one image of about 96 x 128 pixels for each name, of a size and content of its own.

    A file that is there stays as it is; the others appear whole or not at all.

    Args:
        folder: is made where it is missing.
        names: file names that end in .png.
    """
    for name in names:
        encoded = io.BytesIO()
        Image.fromarray(_picture(name)).save(encoded, format="PNG")
        write_file(folder / name, encoded.getvalue())


def _picture(name: str) -> NDArray[np.uint8]:
    """Return waves with discs in front, (H, W, 3): something smooth and something with edges."""
    drawn = np.random.default_rng(
        int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big")
    )
    height, width = drawn.integers(88, 105), drawn.integers(120, 137)
    row_H1, column_1W = np.mgrid[:height, :1][0], np.mgrid[:1, :width][1]
    picture_HWC = np.full((height, width, 3), 0.5)
    for _ in range(4):
        wave_HW = np.cos(
            row_H1 * drawn.uniform(-0.15, 0.15)
            + column_1W * drawn.uniform(-0.15, 0.15)
            + drawn.uniform(0, 2 * np.pi)
        )
        picture_HWC += wave_HW[:, :, None] * drawn.uniform(-0.12, 0.12, 3)
    for _ in range(8):
        distance_HW = np.hypot(
            row_H1 - drawn.uniform(0, height), column_1W - drawn.uniform(0, width)
        )
        picture_HWC[distance_HW < drawn.uniform(6, 24)] += drawn.uniform(-0.3, 0.3, 3)
    return (255 * picture_HWC.clip(0, 1)).round().astype(np.uint8)
