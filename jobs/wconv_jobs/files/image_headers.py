"""Image files by their headers: opened, or refused in words, before a pixel is decoded."""

import threading
import warnings
from pathlib import Path

# Pillow loads the readers of all its formats when one is wanted that is not there.
from PIL import (
    BmpImagePlugin,
    ExifTags,
    Image,
    JpegImagePlugin,
    PngImagePlugin,
    UnidentifiedImageError,
    WebPImagePlugin,
)
from PIL.TiffImagePlugin import (
    BITSPERSAMPLE,
    IMAGELENGTH,
    IMAGEWIDTH,
    SAMPLEFORMAT,
    TiffImageFile,
)

from wconv_jobs.errors import JobError

MAX_PX = 80_000_000
"""Images with more pixels are refused before they are decoded: 240 MB each, or a file made to
exhaust the memory. It lies below the 89 million at which Pillow starts to warn."""


def opened(path: Path) -> Image.Image:
    """Return an image of 8 bits per channel whose header has been read, to be closed.

    Raises:
        JobError: the file cannot be read, or its header says what is not supported.
    """
    if path.is_fifo():
        # Opening it would wait for a writer.
        raise JobError(f"{path}: is a pipe, not a file. Remove it.")
    try:
        with _FILTERS, warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = Image.open(path, formats=_FORMATS)
    except UnidentifiedImageError as error:
        raise JobError(
            f"{path}: is not an image in the format of {', '.join(_FORMATS)}, whatever its name "
            "says. Remove or replace this file."
        ) from error
    except Image.DecompressionBombError as error:
        raise JobError(_too_large(path)) from error
    # A parser may raise anything on a damaged header.
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


def stored_size(image: Image.Image) -> tuple[int, int]:
    """Return height and width of the pixels as they are stored, from an opened image.

    Pillow gives those of a TIFF as it is to be shown: from version 11 on when it is opened, and
    before when it is loaded.
    """
    if isinstance(image, TiffImageFile):
        return image.tag_v2[IMAGELENGTH], image.tag_v2[IMAGEWIDTH]
    return image.height, image.width


def stored_orientation(image: Image.Image) -> int:
    """Return the orientation by which Pillow turns an opened image when it loads it; 1 is upright.

    It turns a TIFF, and no other format. The orientation of a TIFF is its tag 274 or, without
    one, that of its XMP packet.
    """
    if isinstance(image, TiffImageFile):
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    return 1


# Pillow's names of the formats behind SUFFIXES.
_FORMATS = tuple(
    reader.format
    for reader in (
        BmpImagePlugin.BmpImageFile,
        JpegImagePlugin.JpegImageFile,
        PngImagePlugin.PngImageFile,
        TiffImageFile,
        WebPImagePlugin.WebPImageFile,
    )
)
_MODES_8_BIT = ("1", "L", "LA", "P", "PA", "RGB", "RGBA")
# The warning filters belong to the process, and two threads at once would mix them up.
_FILTERS = threading.Lock()
# SampleFormat of whole numbers in two's complement.
_SIGNED = 2


def _refusal(path: Path, image: Image.Image) -> str | None:
    if image.width * image.height > MAX_PX:
        return _too_large(path)
    if _bits(image) > 8 or image.mode.startswith(("I", "F")):
        return (
            f"{path}: has more than 8 bits per channel (mode {image.mode}), which is not "
            "supported. Convert it to 8-bit RGB."
        )
    if isinstance(image, TiffImageFile) and _SIGNED in image.tag_v2.get(SAMPLEFORMAT, ()):
        return f"{path}: has signed values, which is not supported. Convert it to 8-bit RGB."
    if image.mode not in _MODES_8_BIT:
        return f"{path}: has color mode {image.mode}. Convert it to 8-bit RGB."
    # A phone's JPEG may carry a preview as a second frame; the first is the image itself.
    if image.format != "MPO" and getattr(image, "n_frames", 1) > 1:
        return f"{path}: holds several frames. Save each as a file of its own."
    return None


def _bits(image: Image.Image) -> int:
    """Return the bits per channel; 8 stands for any number up to 8."""
    if isinstance(image, TiffImageFile):
        # The raw mode says nothing of it where the channels lie in planes: "R", "G" and "B" at
        # any depth, and Pillow would decode every byte as a value.
        return int(max(image.tag_v2.get(BITSPERSAMPLE, (1,))))
    # Pillow calls 16-bit RGB "RGB"; only the raw mode of the tiles tells. The 16 bits of BGR;16
    # are those of a whole pixel.
    raw_modes = [str(tile[3]) for tile in getattr(image, "tile", ())]
    return 16 if any(";16" in mode and "BGR;16" not in mode for mode in raw_modes) else 8


def _too_large(path: Path) -> str:
    return f"{path}: has more than {MAX_PX:,} pixels. Cut it into smaller images."
