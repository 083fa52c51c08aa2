"""Images from files: listing, checking and decoding to 8-bit RGB, without torch.

Files are read by Pillow's decoders for a few common formats and never executed or unpickled. A
image that is not 8 bits per channel is refused instead of being cut down to 8 bits in silence.
Images of different sizes are kept in one flat array, each (H, W, 3), one after the other.
"""

import os
from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import accumulate
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from wconv_jobs.errors import JobError
from wconv_jobs.files.image_headers import opened, stored_orientation, stored_size
from wconv_jobs.files.paths import reason_of

# Shape letters: H height, W width, C channels.

Result = TypeVar("Result")
Use = Literal["cropped", "scored"]

SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
"""Files with other suffixes, and hidden ones, are taken for notes beside the images."""

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
    stored under full transparency is arbitrary. Orientation (EXIF, tag 274) and color profiles are
    ignored in all formats: the pixels lie as they are stored.

    Raises:
        JobError: the file cannot be read or decoded, holds several frames, more than 8 bits per
            channel, signed values, another color space, or more than `MAX_PX` pixels of
            `wconv_jobs.files.image_headers`.
    """
    with opened(path) as image:
        try:
            back = _BACK.get(stored_orientation(image))
            image.load()
            if image.has_transparency_data:
                rgba = image.convert("RGBA")
                white = Image.new("RGBA", rgba.size, "white")
                rgb = Image.alpha_composite(white, rgba).convert("RGB")
            else:
                rgb = image.convert("RGB")
            if back is not None:
                rgb = rgb.transpose(back)
        # A decoder may raise anything on a damaged file.
        except Exception as error:
            raise JobError(f"{path}: cannot be decoded ({error}). Replace this file.") from error
    return np.asarray(rgb, dtype=np.uint8)


def size_of(path: Path) -> tuple[int, int]:
    """Return height and width of what `decode` returns, pixels, from the header alone.

    Raises:
        JobError: the header says already what `decode` would refuse.
    """
    with opened(path) as image:
        return stored_size(image)


def flat_offsets(sizes_px: Sequence[tuple[int, int]]) -> list[int]:
    """Return where each image starts in a flat array of RGB images, and where the last ends.

    Args:
        sizes_px: height and width of each.
    """
    return [0, *accumulate(3 * height * width for height, width in sizes_px)]


def in_threads(
    work: Callable[[int], Result], count: int
) -> Generator[Result | JobError, None, None]:
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
    pool = ThreadPoolExecutor(threads)
    ahead: deque[Future[Result | JobError]] = deque()
    try:
        for number in range(count):
            ahead.append(pool.submit(attempt, number))
            if len(ahead) > 2 * threads:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()
    finally:
        # Without waiting: what a reader has left behind is closed by the garbage collector, which
        # may be at work in one of these very threads.
        pool.shutdown(wait=False, cancel_futures=True)


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


# What undoes the turn by which Pillow shows a TIFF of this orientation.
_BACK = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}
