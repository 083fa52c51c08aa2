"""A test image before and after the network, as a picture that holds its scores, without torch.

Before, after and truth stand side by side in one PNG; its name and the PSNRs are text in the file.
"""

import warnings
from dataclasses import dataclass, replace
from io import BytesIO
from typing import Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin, UnidentifiedImageError

from wconv_jobs.errors import JobError

# Shape letters: H height, W width, C channels, 1 or 3.

_NAME, _INPUT, _OUTPUT = "name", "input_psnr_db", "output_psnr_db"
_OTHER = "is not a picture of a test image before and after the network"
_DAMAGES = (
    *(OSError, SyntaxError),  # what Pillow raises for most
    *(Image.DecompressionBombWarning, Image.DecompressionBombError),
    *(KeyError, ValueError),  # also where something else is in the file
)


@dataclass(frozen=True)
class BeforeAfter:
    """An image, the output of the network, and the truth; 8 bits per channel."""

    name: str
    input_psnr_db: float
    """PSNR of the whole image before rounding to 8 bits, as in the test; so is the next."""
    output_psnr_db: float
    input_HWC: NDArray[np.uint8]
    output_HWC: NDArray[np.uint8]
    target_HWC: NDArray[np.uint8]

    def middle(self, px: int) -> Self:
        """Return the square in the middle, or all if it is smaller; scores stay those of all."""
        rows, columns = (_middle(length, px) for length in self.target_HWC.shape[:2])
        return replace(
            self,
            input_HWC=self.input_HWC[rows, columns],
            output_HWC=self.output_HWC[rows, columns],
            target_HWC=self.target_HWC[rows, columns],
        )

    def png(self) -> bytes:
        """Return before, after and truth side by side, from left to right.

        Undecodable characters of a file name are replaced by `?`.
        """
        text = PngImagePlugin.PngInfo()
        for key, value in (
            (_NAME, self.name),
            (_INPUT, repr(self.input_psnr_db)),
            (_OUTPUT, repr(self.output_psnr_db)),
        ):
            text.add_itxt(key, value.encode("utf-8", "replace").decode("utf-8"))
        whole_HWC = np.concatenate([self.input_HWC, self.output_HWC, self.target_HWC], axis=1)
        return png_of(whole_HWC, text)

    @classmethod
    def of_png(cls, content: bytes) -> Self:
        """Read the output of `png`.

        Raises:
            JobError: it is something else, or damaged. The caller adds the path.
        """
        try:
            with warnings.catch_warnings():
                # Pillow warns of a picture that is too large, and refuses one twice as large.
                warnings.simplefilter("error", Image.DecompressionBombWarning)
                with Image.open(BytesIO(content), formats=["PNG"]) as opened:
                    mode, text = opened.mode, opened.info
                    whole = np.asarray(opened)
            if mode not in ("L", "RGB"):
                raise ValueError(f"its mode is {mode}, not L or RGB")
            whole_HWC = whole if whole.ndim == 3 else whole[:, :, None]
            input_HWC, output_HWC, target_HWC = np.split(whole_HWC, 3, axis=1)
            name, before, after = str(text[_NAME]), float(text[_INPUT]), float(text[_OUTPUT])
        except UnidentifiedImageError as error:  # its text has an address in memory
            raise JobError(f"{_OTHER} (it is not a PNG file)") from error
        except _DAMAGES as error:
            raise JobError(f"{_OTHER} ({type(error).__name__}: {error})") from error
        return cls(name, before, after, input_HWC, output_HWC, target_HWC)


def png_of(pixel_HWC: NDArray[np.uint8], text: PngImagePlugin.PngInfo | None = None) -> bytes:
    """Return a gray or RGB picture as the content of a PNG file."""
    buffer = BytesIO()
    shown = pixel_HWC[:, :, 0] if pixel_HWC.shape[2] == 1 else pixel_HWC
    Image.fromarray(shown).save(buffer, "png", pnginfo=text)
    return buffer.getvalue()


def _middle(length: int, px: int) -> slice:
    start = max(0, (length - px) // 2)
    return slice(start, start + px)
