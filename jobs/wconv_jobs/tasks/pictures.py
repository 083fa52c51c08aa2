"""Images of different sizes in one flat tensor, and square crops of them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from wconv_jobs.errors import JobError
from wconv_jobs.files.images import decode, flat_offsets, in_threads, shortened, size_of
from wconv_jobs.tasks.residence import resident

# Shape letters: B crops, N some of them, C channels, H height, W width, P images.


@dataclass(frozen=True)
class Crops:
    """Squares in images, each seen in one of the eight symmetries of a square.

    All tensors are int64 on one device.
    """

    px: int
    """Width and height, pixels."""
    picture_B: Tensor
    """Number of the image in its store."""
    width_B: Tensor
    """Width of that image, pixels."""
    top_B: Tensor
    left_B: Tensor
    turn_B: Tensor
    """Sum of 1, 2 and 4 for: upside down; left to right; after these, rows become columns."""

    def to(self, device: torch.device) -> "Crops":
        """Return the same crops with their tensors on a device."""
        return self._each(lambda tensor: tensor.to(device))

    def part(self, number_N: Tensor) -> "Crops":
        """Return the crops of some numbers, int64 where the crops are."""
        return self._each(lambda tensor: tensor[number_N])

    def elements(self) -> Tensor:
        """Return where in the flattened image (H, W, 3) each value of a crop lies.

        Returns:
            int64 (B, 3, px, px).
        """
        step_H = torch.arange(self.px, device=self.top_B.device)
        turn_B1 = self.turn_B[:, None]
        row_BH = self.top_B[:, None] + torch.where(turn_B1 & 1 > 0, self.px - 1 - step_H, step_H)
        column_BW = self.left_B[:, None] + torch.where(
            turn_B1 & 2 > 0, self.px - 1 - step_H, step_H
        )
        pixel_BHW = row_BH[:, :, None] * self.width_B[:, None, None] + column_BW[:, None, :]
        pixel_BHW = torch.where(turn_B1[:, None] & 4 > 0, pixel_BHW.transpose(1, 2), pixel_BHW)
        channel_C11 = torch.arange(3, device=step_H.device)[:, None, None]
        return 3 * pixel_BHW[:, None] + channel_C11

    def _each(self, change: Callable[[Tensor], Tensor]) -> "Crops":
        tensors = self.picture_B, self.width_B, self.top_B, self.left_B, self.turn_B
        return Crops(self.px, *(change(tensor) for tensor in tensors))


class PictureStore:
    """8-bit RGB images, at 3 bytes per pixel, on the GPU when they fit there.

    Mapped from a file, they take no memory of their own in the host: all ranks and trials of a
    node share the pages that the operating system keeps of the file.
    """

    def __init__(
        self,
        flat: Tensor,
        names: Sequence[str],
        sizes_px: Sequence[tuple[int, int]],
        device: torch.device | str,
    ) -> None:
        """Take the images.

        Args:
            flat: uint8, the images, each (H, W, 3), one after the other, in the host's memory or
                mapped from a file.
            names: of the images.
            sizes_px: height and width of each.
            device: see the class.
        """
        self.names = list(names)
        self.sizes_px = list(sizes_px)
        self._flat = resident(flat, device)
        self._offsets = flat_offsets(sizes_px)
        self.device: torch.device = self._flat.device
        """Where the images are, and where crops are drawn and cut."""
        self.offset_P = torch.tensor(self._offsets[:-1], device=self.device)
        self.height_P, self.width_P = torch.tensor(
            self.sizes_px, dtype=torch.int64, device=self.device
        ).unbind(1)

    @staticmethod
    def decoded(
        paths: Sequence[Path], names: Sequence[str], device: torch.device | str
    ) -> "PictureStore":
        """Return the images of files, decoded into memory.

        Raises:
            JobError: a file cannot be read or decoded, see `wconv_jobs.files.images.decode`.
        """
        sizes_px = [size_of(path) for path in paths]
        offsets = flat_offsets(sizes_px)
        flat = torch.empty(offsets[-1], dtype=torch.uint8)
        values = flat.numpy()

        def fill(number: int) -> None:
            values[offsets[number] : offsets[number + 1]] = decode(paths[number]).reshape(-1)

        outcomes = in_threads(fill, len(paths))
        problems = [str(outcome) for outcome in outcomes if isinstance(outcome, JobError)]
        if problems:
            raise JobError("\n".join(shortened(problems)))
        return PictureStore(flat, names, sizes_px, device)

    def picture(self, number: int) -> Tensor:
        """Return one image, uint8 (H, W, 3), where the images are."""
        height, width = self.sizes_px[number]
        part = self._flat[self._offsets[number] : self._offsets[number + 1]]
        return part.view(height, width, 3)

    def crops(self, crops: Crops) -> Tensor:
        """Return crops, uint8 (B, 3, px, px) in any order in memory, where the images are.

        Args:
            crops: within the images; their tensors lie where the images are.
        """
        if self.device.type == "cpu":
            return self._cut(crops)
        return self._flat[self.offset_P[crops.picture_B][:, None, None, None] + crops.elements()]

    def _cut(self, crops: Crops) -> Tensor:
        # Rows are copied as they lie. Measured on one core, 16 crops of 128 pixels: 0.07 ms,
        # turned ones 0.8 ms, a gather by index 2.0 ms.
        px = crops.px
        cut_BHWC = np.empty((len(crops.picture_B), px, px, 3), np.uint8)
        places = torch.stack([crops.picture_B, crops.top_B, crops.left_B, crops.turn_B], dim=1)
        for out_HWC, (number, top, left, turn) in zip(cut_BHWC, places.tolist(), strict=True):
            crop_HWC = self.picture(number).numpy()[top : top + px, left : left + px]
            crop_HWC = crop_HWC[:: -1 if turn & 1 else 1, :: -1 if turn & 2 else 1]
            out_HWC[...] = crop_HWC.swapaxes(0, 1) if turn & 4 else crop_HWC
        return torch.from_numpy(cut_BHWC).permute(0, 3, 1, 2)
