#!/usr/bin/env bash
# Pillow turns a TIFF by its orientation, and no other format.
#
# One expects: the orientation of a picture (tag 274) is applied to all formats or to none, or by
# `ImageOps.exif_transpose` alone.
# Happens: a TIFF has its turned size from `open` on, and after `load()` turned pixels and no tag
# any more; JPEG, PNG and WebP keep the stored pixels and the tag.
# Matters: a data set of mixed formats holds the same scene lying and standing; and who reads the
# tag before the pixels and turns them afterwards turns a TIFF twice.
# Seen with Pillow 13.0.0, a picture of 40 x 30 with orientation 6:
#     TIFF: opened (30, 40), loaded (30, 40), tag None
#     JPEG: opened (40, 30), loaded (40, 30), tag 6
#     PNG: opened (40, 30), loaded (40, 30), tag 6
#     WEBP: opened (40, 30), loaded (40, 30), tag 6
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
  'pillow==13.0.0' \
  2> "$folder/pip.log" || { cat "$folder/pip.log" >&2; exit 2; }

cat > "$folder/shown.py" <<'PYTHON'
import sys

from PIL import Image

ORIENTATION = 274
picture = Image.new("RGB", (40, 30), "red")
exif = Image.Exif()
exif[ORIENTATION] = 6

seen = {}
for kind in ("TIFF", "JPEG", "PNG", "WEBP"):
    name = f"picture.{kind.lower()}"
    picture.save(name, exif=exif)
    with Image.open(name) as opened:
        before = opened.size
        opened.load()
        seen[kind] = before, opened.size, opened.getexif().get(ORIENTATION)
        print(f"{kind}: opened {before}, loaded {opened.size}, tag {seen[kind][2]}")
plain = ((40, 30), (40, 30), 6)
if seen != {"TIFF": ((30, 40), (30, 40), None), "JPEG": plain, "PNG": plain, "WEBP": plain}:
    sys.exit("CHANGED: other sizes or tags")
PYTHON
cd "$folder"
"$folder/venv/bin/python" shown.py
