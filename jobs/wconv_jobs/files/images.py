"""Images from files: listing, checking and decoding to 8-bit RGB, without torch.

Files are read by Pillow's decoders for a few common formats and never executed or unpickled. A
image that is not 8 bits per channel is refused instead of being cut down to 8 bits in silence.
Images of different sizes are kept in one flat array, each (H, W, 3), one after the other.
"""

import os
import threading
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import accumulate
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

# Pillow loads the readers of all its formats when one is wanted that is not there.
from PIL import (
    BmpImagePlugin,
    Image,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    UnidentifiedImageError,
    WebPImagePlugin,
)

from wconv_jobs.errors import JobError
from wconv_jobs.files.paths import reason_of

# Shape letters: H height, W width, C channels.

Result = TypeVar("Result")
Use = Literal["cropped", "scored"]

SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
"""Files with other suffixes, and hidden ones, are taken for notes beside the images."""

MAX_PX = 80_000_000
"""Images with more pixels are refused before they are decoded: 240 MB each, or a file made to
exhaust the memory. It lies below the 89 million at which Pillow starts to warn."""

SCORED_PX = 11
"""Smallest width and height of an image that can be scored: the window of SSIM."""

SOME_PX = 200_000_000
"""As many pixels are decoded in some seconds; a login node should not decode more."""

THREADS = 8
"""Most threads that decode at once; Pillow decodes outside the interpreter lock, and a login node
is shared."""


def list_images(folder: Path) -> list[Path]:
    """Return the image files directly in a folder, in the order of their names.

    Raises:
        JobError: the folder does not exist, cannot be read, or holds no image.
    """
    try:
        found = sorted(
            path
            for path in folder.iterdir()
            if path.suffix.lower() in SUFFIXES and not path.name.startswith(".")
        )
    except (OSError, ValueError) as error:
        raise JobError(
            f"{folder}: cannot list this folder of images ({reason_of(error)}). "
            "Name an existing folder that you may read."
        ) from error
    if not found:
        raise JobError(
            f"{folder}: holds no images. Put files there that end in {', '.join(SUFFIXES)}."
        )
    return found


def file_bytes(path: Path) -> int:
    """Return the size of a file.

    Raises:
        JobError: its status cannot be read.
    """
    try:
        return path.stat().st_size
    except OSError as error:
        raise JobError(
            f"{path}: cannot be read ({error.strerror}). Remove or replace this file."
        ) from error


def decode(path: Path) -> NDArray[np.uint8]:
    """Return a file's image as 8-bit RGB, shape (H, W, 3).

    RGB is taken as it is; black-and-white, gray and palette images become RGB of the same
    colors. Transparent pixels are shown on white, as a viewer shows them, since the color
    stored under full transparency is arbitrary. EXIF orientation and color profiles are ignored.

    Raises:
        JobError: the file cannot be read or decoded, holds several frames, more than 8 bits per
            channel, another color space, or more than `MAX_PX` pixels.
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
        # A decoder may raise anything on a damaged file.
        except Exception as error:
            raise JobError(f"{path}: cannot be decoded ({error}). Replace this file.") from error
    return np.asarray(rgb, dtype=np.uint8)


def size_of(path: Path) -> tuple[int, int]:
    """Return height and width of a file's image, pixels, from its header alone.

    Raises:
        JobError: the header says already what `decode` would refuse.
    """
    with _opened(path) as image:
        return image.height, image.width


def flat_offsets(sizes_px: Sequence[tuple[int, int]]) -> list[int]:
    """Return where each image starts in a flat array of RGB images, and where the last ends.

    Args:
        sizes_px: height and width of each.
    """
    return [0, *accumulate(3 * height * width for height, width in sizes_px)]


def in_threads(work: Callable[[int], Result], count: int) -> Iterator[Result | JobError]:
    """Yield work(0), ..., work(count - 1) in this order, or the error of each.

    The threads are ahead of the reader by a few results, and no more are kept.

    Args:
        work: decodes an image and does something with it; is called from several threads.
        count: see above.
    """

    def attempt(number: int) -> Result | JobError:
        try:
            return work(number)
        except JobError as error:
            return error

    threads = max(1, min(THREADS, len(os.sched_getaffinity(0)), count))
    with ThreadPoolExecutor(threads) as pool:
        ahead: deque[Future[Result | JobError]] = deque()
        for number in range(count):
            ahead.append(pool.submit(attempt, number))
            if len(ahead) > 2 * threads:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()


def check_images(
    paths: Sequence[Path],
    *,
    min_px: int,
    use: Use = "cropped",
    decode_px: int | None = SOME_PX,
    shown: int = 10,
) -> list[str]:
    """Return one sentence per problem with images, at most `shown` and a last one for the rest.

    Args:
        paths: the files.
        min_px: smallest width and height allowed, pixels.
        use: what asks for it, see `size_problem`.
        decode_px: the headers of all files are read; the images are decoded, too, until this
            many pixels have been. None decodes all.
        shown: see above.
    """
    problems: dict[int, str] = {}
    decoded: list[int] = []
    left_px = decode_px
    for number, path in enumerate(paths):
        try:
            height, width = size_of(path)
        except JobError as error:
            problems[number] = str(error)
            continue
        problem = size_problem(path, height, width, min_px, use)
        if problem:
            problems[number] = problem
        if left_px is None or left_px > 0:
            decoded.append(number)
            left_px = None if left_px is None else left_px - height * width

    def try_out(place: int) -> None:  # the pixels are not kept
        decode(paths[decoded[place]])

    for number, outcome in zip(decoded, in_threads(try_out, len(decoded)), strict=True):
        if isinstance(outcome, JobError):
            problems[number] = str(outcome)
    return shortened([problems[number] for number in sorted(problems)], shown)


def size_problem(
    where: object, height: int, width: int, min_px: int, use: Use = "cropped"
) -> str | None:
    """Return the problem with an image's size; None if there is none.

    Args:
        where: its name or path.
        height: pixels.
        width: pixels.
        min_px: smallest width and height allowed, pixels.
        use: crops of `min_px` are cut out of it, or it is scored as a whole.
    """
    if min(height, width) >= min_px:
        return None
    reason = {
        "cropped": f"smaller than the crops of {min_px} x {min_px}. Lower crop_px or remove",
        "scored": f"too small to be scored, which takes {min_px} x {min_px}. Remove",
    }
    return f"{where}: is {width} x {height} pixels, {reason[use]} this image."


def shortened(problems: Sequence[str], shown: int = 10) -> list[str]:
    """Return the first problems, and a sentence that counts the others."""
    if len(problems) <= shown:
        return list(problems)
    return [*problems[:shown], f"{len(problems) - shown} more images have problems."]


# Pillow's names of the formats behind SUFFIXES.
_FORMATS = tuple(
    reader.format
    for reader in (
        BmpImagePlugin.BmpImageFile,
        JpegImagePlugin.JpegImageFile,
        PngImagePlugin.PngImageFile,
        TiffImagePlugin.TiffImageFile,
        WebPImagePlugin.WebPImageFile,
    )
)
_MODES_8_BIT = ("1", "L", "LA", "P", "PA", "RGB", "RGBA")
# The warning filters belong to the process, and two threads at once would mix them up.
_FILTERS = threading.Lock()


def _opened(path: Path) -> Image.Image:
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


def _refusal(path: Path, image: Image.Image) -> str | None:
    if image.width * image.height > MAX_PX:
        return _too_large(path)
    # Pillow calls 16-bit RGB "RGB"; only the raw mode of the tiles tells. The 16 bits of BGR;16
    # are those of a whole pixel.
    raw_modes = [str(tile[3]) for tile in getattr(image, "tile", ())]
    bits_16 = any(";16" in mode and "BGR;16" not in mode for mode in raw_modes)
    if bits_16 or image.mode.startswith(("I", "F")):
        return (
            f"{path}: has more than 8 bits per channel (mode {image.mode}), which is not "
            "supported. Convert it to 8-bit RGB."
        )
    if image.mode not in _MODES_8_BIT:
        return f"{path}: has color mode {image.mode}. Convert it to 8-bit RGB."
    # A phone's JPEG may carry a preview as a second frame; the first is the image itself.
    if image.format != "MPO" and getattr(image, "n_frames", 1) > 1:
        return f"{path}: holds several frames. Save each as a file of its own."
    return None


def _too_large(path: Path) -> str:
    return f"{path}: has more than {MAX_PX:,} pixels. Cut it into smaller images."
