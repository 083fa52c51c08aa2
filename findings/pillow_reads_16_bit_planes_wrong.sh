#!/usr/bin/env bash
# Pillow reads wrong colors from uncompressed 16-bit TIFFs whose channels lie one after another.
#
# One expects: an RGB TIFF of 16 bits a channel is read by its upper bytes, as Pillow does it, or
# is refused.
# Happens: uncompressed with `PlanarConfiguration` separate, it opens and loads without a warning,
# and the pixels are others: the bytes of a plane are taken for pixels of 8 bits. The same file
# compressed, and the same values pixel by pixel, are read well.
# Matters: microscopes and scanners write such files; a data set of them trains on noise.
# Seen with Pillow 13.0.0, written and checked by tifffile 2026.3.3:
#     pixel by pixel: off by up to 0 of 255
#     pixel by pixel, zlib: off by up to 0 of 255
#     in planes: off by up to 209 of 255
#     in planes, zlib: off by up to 0 of 255
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
  'pillow==13.0.0' \
  'tifffile==2026.3.3' \
  'numpy==2.4.6' \
  2> "$folder/pip.log" || { cat "$folder/pip.log" >&2; exit 2; }

cat > "$folder/shown.py" <<'PYTHON'
import sys

import numpy as np
import tifffile
from PIL import Image

row, column = np.mgrid[:30, :40]
PIXELS = np.stack([row * 2000, column * 1500, row + column], axis=2).astype(np.uint16)
KINDS = {
    "pixel by pixel": ("contig", None),
    "pixel by pixel, zlib": ("contig", "zlib"),
    "in planes": ("separate", None),
    "in planes, zlib": ("separate", "zlib"),
}


def largest_error(planes: str, compression: str | None) -> int:
    """Return how far the values that Pillow reads are from the upper bytes of the true ones."""
    stored = PIXELS if planes == "contig" else np.ascontiguousarray(PIXELS.transpose(2, 0, 1))
    options = {"photometric": "rgb", "planarconfig": planes, "compression": compression}
    tifffile.imwrite("image.tif", stored, **options)
    assert (tifffile.imread("image.tif") == stored).all()
    with Image.open("image.tif") as image:
        read = np.asarray(image).astype(int)
    return int(abs(read - (PIXELS >> 8)).max())


errors = {name: largest_error(*kind) for name, kind in KINDS.items()}
for name, error in errors.items():
    print(f"{name}: off by up to {error} of 255")
if errors["in planes"] == 0:
    sys.exit("CHANGED: planes of 16 bits are read well")
PYTHON
cd "$folder"
"$folder/venv/bin/python" shown.py
