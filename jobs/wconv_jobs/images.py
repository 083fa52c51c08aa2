"""Pictures from files: listing, checking and decoding to 8-bit RGB, without torch.

Files are read by Pillow's decoders for a few common formats and never executed or unpickled. A
picture that is not 8 bits per channel is refused instead of being cut down to 8 bits in silence.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from wconv_jobs.errors import JobError

# Shape letters: H height, W width, C channels.

SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
"""Files with other suffixes, and hidden ones, are taken for notes beside the pictures."""

MAX_PX = 80_000_000
"""Pictures with more pixels are refused before they are decoded: 240 MB each, or a file made to
exhaust the memory. It lies below the 89 million at which Pillow begins to warn."""


@dataclass(frozen=True)
class Picture:
    """A decoded picture."""

    name: str
    pixels_HWC: NDArray[np.uint8]
    """Red, green and blue from 0 to 255, shape (H, W, 3)."""


def list_images(folder: Path) -> list[Path]:
    """Return the picture files directly in a folder, in the order of their names.

    Raises:
        JobError: the folder does not exist, cannot be read, or holds no picture.
    """
    try:
        found = sorted(
            path
            for path in folder.iterdir()
            if path.suffix.lower() in SUFFIXES and not path.name.startswith(".")
        )
    except (OSError, ValueError) as error:  # ValueError: a NUL byte in the path
        reason = getattr(error, "strerror", None) or error
        raise JobError(
            f"{folder}: cannot list this folder of images ({reason}). "
            "Name an existing folder that you may read."
        ) from error
    if not found:
        raise JobError(
            f"{folder}: holds no images. Put files there that end in {', '.join(SUFFIXES)}."
        )
    return found


def decode(path: Path) -> NDArray[np.uint8]:
    """Return a file's picture as 8-bit RGB, shape (H, W, 3).

    RGB is taken as it is; black-and-white, grey and palette pictures become RGB of the same
    colours. Transparent pixels are shown on white, as a viewer shows them, since the colour
    stored under full transparency is arbitrary. EXIF orientation and colour profiles are ignored.

    Raises:
        JobError: the file cannot be read or decoded, holds several frames, more than 8 bits per
            channel, another colour space, or more than `MAX_PX` pixels.
    """
    with _opened(path) as image:
        try:
            image.load()
            if image.has_transparency_data:
                rgba = image.convert("RGBA")
                white = Image.new("RGBA", rgba.size, "white")
                rgb = Image.alpha_composite(white, rgba).convert("RGB")
            else:
                rgb = image.convert("RGB")
        # A decoder that meets a damaged file raises whatever it stumbles over.
        except Exception as error:
            raise JobError(f"{path}: cannot be decoded ({error}). Replace this file.") from error
    return np.asarray(rgb, dtype=np.uint8)


def check_images(
    paths: Sequence[Path], *, min_px: int, decode_px: int = 200_000_000, shown: int = 10
) -> list[str]:
    """Return one sentence per problem with pictures, at most `shown` and a last one for the rest.

    Args:
        paths: the files.
        min_px: smallest width and height allowed, pixels.
        decode_px: the headers of all files are read; the pictures are decoded, too, until this
            many pixels have been (some seconds), for a login node is no place for decoding a
            large data set.
        shown: see above.
    """
    problems = []
    for path in paths:
        try:
            with _opened(path) as image:
                width, height = image.size
            if min(width, height) < min_px:
                problems.append(_too_small(path, width, height, min_px))
            if decode_px > 0:
                decode(path)
                decode_px -= width * height
        except JobError as error:
            problems.append(str(error))
    if len(problems) > shown:
        return [*problems[:shown], f"{len(problems) - shown} more images have problems."]
    return problems


def require_size(picture: Picture, min_px: int) -> None:
    """Refuse a picture that is too small.

    Raises:
        JobError: its width or height is below `min_px` pixels.
    """
    height, width, _ = picture.pixels_HWC.shape
    if min(width, height) < min_px:
        raise JobError(_too_small(picture.name, width, height, min_px))


def _too_small(where: object, width: int, height: int, min_px: int) -> str:
    return (
        f"{where}: is {width} x {height} pixels, smaller than the crops of {min_px} x {min_px}. "
        "Lower crop_px or remove this image."
    )


# Pillow's names of the formats behind SUFFIXES.
_FORMATS = ("BMP", "JPEG", "PNG", "TIFF", "WEBP")
_MODES_8_BIT = ("1", "L", "LA", "P", "PA", "RGB", "RGBA")


def _opened(path: Path) -> Image.Image:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = Image.open(path, formats=_FORMATS)
    except UnidentifiedImageError as error:
        raise JobError(
            f"{path}: is not an image in the format of {', '.join(_FORMATS)}, whatever its name "
            "says. Remove or replace this file."
        ) from error
    except Image.DecompressionBombError as error:
        raise JobError(_too_large(path)) from error
    # A parser that meets a damaged header raises whatever it stumbles over.
    except Exception as error:
        raise JobError(f"{path}: cannot be opened ({error}). Replace this file.") from error
    try:
        problem = _refusal(path, image)
    except Exception as error:
        problem = f"{path}: cannot be opened ({error}). Replace this file."
    if problem:
        image.close()
        raise JobError(problem)
    return image


def _refusal(path: Path, image: Image.Image) -> str | None:
    if image.width * image.height > MAX_PX:
        return _too_large(path)
    # Pillow calls 16-bit RGB "RGB"; only the raw mode of the tiles tells.
    bits_16 = any(";16" in str(tile[3]) for tile in getattr(image, "tile", ()))
    if bits_16 or image.mode.startswith(("I", "F")):
        return (
            f"{path}: has more than 8 bits per channel (mode {image.mode}), which is not "
            "supported. Convert it to 8-bit RGB."
        )
    if image.mode not in _MODES_8_BIT:
        return f"{path}: has colour mode {image.mode}. Convert it to 8-bit RGB."
    # A phone's JPEG may carry a preview as a second frame; the first is the photograph.
    if image.format != "MPO" and getattr(image, "n_frames", 1) > 1:
        return f"{path}: holds several frames. Save each as a file of its own."
    return None


def _too_large(path: Path) -> str:
    return f"{path}: has more than {MAX_PX:,} pixels. Cut it into smaller images."
