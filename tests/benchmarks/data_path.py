"""Training samples per second of the data path, beside a DataLoader that reads image files.

    python tests/benchmarks/data_path.py [--quick]

The images are made up. Those for denoising have 1020 x 678 pixels, a quarter of DIV2K's, in PNG
files of 1 MB; a baseline that decodes would take four times as long for the real ones. For
classification they have 32 x 32 pixels and lie in memory. The baselines do what a torch Dataset
usually does: one image at a time in Python with Pillow, in the same process or in 2 workers.
"in memory" decodes all images once, and cuts crops one at a time.

Every repetition times each variant once, in random order, so that a busy machine hits all alike; a
ratio is taken within a repetition, and the table shows the median and the quartiles over the
repetitions. It is wall time, with one intra-op thread; workers are started before the clock is.
"""

import argparse
import os
import platform
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from wconv_jobs.catalog import prepare_data
from wconv_jobs.data import load_data
from wconv_jobs.data.cifar100 import MEAN, STD
from wconv_jobs.data.div2k import TRAIN, VALID
from wconv_jobs.files.images import decode
from wconv_jobs.tasks.classification import ClassificationTask, ImagePart, standardized
from wconv_jobs.tasks.task import Task

# Shape letters: B batch, C channels, H height, W width, N images.

Batch = tuple[Tensor, Tensor]
Batches = Callable[[], Iterable[Batch]]

OURS = "wconv_jobs"
TRAINED, HEIGHT_PX, WIDTH_PX, CROP_PX, CROP_BATCH = 12, 678, 1020, 128, 16
SMALL_IMAGES, SMALL_BATCH = 4096, 128


@dataclass(frozen=True)
class Variant:
    """A way to make the batches of an epoch."""

    samples: int
    batches: Batches


def main(arguments: Sequence[str] | None = None) -> None:
    """Time both data sets and print their tables."""
    parser = argparse.ArgumentParser(description="Training samples per second, as ratios.")
    parser.add_argument("--quick", action="store_true", help="few repetitions, about 30 s")
    repetitions = 3 if parser.parse_args(arguments).quick else 15
    torch.set_num_threads(1)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    card = f", {torch.cuda.get_device_name()}" if device == "cuda" else ""
    print(
        f"torch {torch.__version__}, {platform.machine()}, {len(os.sched_getaffinity(0))} cores",
        end="",
    )
    print(f"{card}, {repetitions} repetitions, median [quartiles]")
    with tempfile.TemporaryDirectory() as folder:
        crops = f"{CROP_PX}-px crops, noise, batch {CROP_BATCH}"
        _print(crops, _time(denoising(Path(folder), device), device, repetitions))
    small = f"32-px images, flips, batch {SMALL_BATCH}"
    _print(small, _time(classification(device), device, repetitions))


class NoisyCrops(Dataset[Batch]):
    """Random crops of images with Gaussian noise, the usual way."""

    def __init__(self, paths: Sequence[Path], samples: int, *, in_memory: bool) -> None:
        self._paths = paths
        self._decoded = [decode(path) for path in paths] if in_memory else None
        self._samples = samples

    def __len__(self) -> int:
        return self._samples

    def __getitem__(self, sample: int) -> Batch:
        number = random.randrange(len(self._paths))
        if self._decoded is None:
            with Image.open(self._paths[number]) as image:
                image_HWC = np.asarray(image.convert("RGB"))
        else:
            image_HWC = self._decoded[number]
        top = random.randrange(image_HWC.shape[0] - CROP_PX + 1)
        left = random.randrange(image_HWC.shape[1] - CROP_PX + 1)
        crop_HWC = image_HWC[top : top + CROP_PX, left : left + CROP_PX].copy()
        target_CHW = torch.from_numpy(crop_HWC).permute(2, 0, 1).float().div(255)
        return target_CHW + 25 / 255 * torch.randn(target_CHW.shape), target_CHW


class FlippedImages(Dataset[tuple[Tensor, int]]):
    """Small images, flipped and normalized, the usual way."""

    def __init__(self, image_NHWC: NDArray[np.uint8], class_N: Sequence[int]) -> None:
        self._image_NHWC = image_NHWC
        self._class_N = class_N
        self._mean_C11, self._std_C11 = (torch.tensor(v).view(3, 1, 1) for v in (MEAN, STD))

    def __len__(self) -> int:
        return len(self._class_N)

    def __getitem__(self, sample: int) -> tuple[Tensor, int]:
        image = Image.fromarray(self._image_NHWC[sample])
        if random.random() < 0.5:
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        image_CHW = torch.from_numpy(np.array(image)).permute(2, 0, 1).float().div(255)
        return (image_CHW - self._mean_C11) / self._std_C11, self._class_N[sample]


def denoising(folder: Path, device: str) -> dict[str, Variant]:
    """Return the ways to make noisy crops of images in files."""
    drawn = np.random.default_rng(0)
    for part, count in ((TRAIN, TRAINED + 1), (VALID, 1)):
        (folder / part).mkdir()
        for number in range(count):
            Image.fromarray(_photograph(drawn)).save(folder / part / f"{number:04}.png")
    options = {"folder": str(folder), "verify": False, "validation_images": 1, "crop_px": CROP_PX}
    prepare_data("div2k", options, lambda done, of: None)
    task = load_data("div2k", seed=0, device=device, crops_per_epoch=640, **options)
    paths = sorted((folder / TRAIN).iterdir())[:TRAINED]
    files, memory = (NoisyCrops(paths, samples, in_memory=samples > 64) for samples in (64, 640))
    return {
        OURS: _of_task(task, CROP_BATCH),
        "DataLoader, files": _of_loader(files, CROP_BATCH, 0, device),
        "DataLoader, files, 2 workers": _of_loader(files, CROP_BATCH, 2, device),
        "DataLoader, in memory": _of_loader(memory, CROP_BATCH, 0, device),
        "DataLoader, in memory, 2 workers": _of_loader(memory, CROP_BATCH, 2, device),
    }


def classification(device: str) -> dict[str, Variant]:
    """Return the ways to make batches of small images."""
    drawn = np.random.default_rng(0)
    image_NHWC = drawn.integers(0, 256, (SMALL_IMAGES, 32, 32, 3), np.uint8)
    class_N = drawn.integers(0, 100, SMALL_IMAGES).tolist()
    part = ImagePart(
        torch.from_numpy(image_NHWC).permute(0, 3, 1, 2).contiguous(),
        torch.tensor(class_N),
        torch.arange(SMALL_IMAGES),
    )
    task = ClassificationTask(
        train=part,
        validation=part,
        test=part,
        classes=100,
        normalize=standardized(MEAN, STD, device),
        seed=0,
        device=device,
        flip_across=True,
    )
    images = FlippedImages(image_NHWC, class_N)
    return {
        OURS: _of_task(task, SMALL_BATCH),
        "DataLoader": _of_loader(images, SMALL_BATCH, 0, device),
        "DataLoader, 2 workers": _of_loader(images, SMALL_BATCH, 2, device),
    }


def _photograph(drawn: np.random.Generator) -> NDArray[np.uint8]:
    """Return a smooth image with grain: its PNG takes 1.4 bytes per pixel, DIV2K's take 1.6."""
    coarse = drawn.integers(0, 256, (12, 18, 3), np.uint8)
    smooth = Image.fromarray(coarse).resize((WIDTH_PX, HEIGHT_PX), Image.Resampling.BICUBIC)
    grain = drawn.normal(0, 2, (HEIGHT_PX, WIDTH_PX, 3))
    return (np.asarray(smooth) + grain).clip(0, 255).astype(np.uint8)


def _of_task(task: Task, batch: int) -> Variant:
    epochs = iter(range(1_000_000))

    def batches() -> Iterable[Batch]:
        epoch = next(epochs)
        for first in range(0, task.epoch_samples, batch):
            yield task.train_batch(epoch, range(first, first + batch))

    return Variant(task.epoch_samples, batches)


def _of_loader(data: NoisyCrops | FlippedImages, batch: int, workers: int, device: str) -> Variant:
    loader: DataLoader[Batch] = DataLoader(
        data,  # type: ignore[arg-type]  # collated to pairs of tensors
        batch_size=batch,
        shuffle=True,
        num_workers=workers,
        persistent_workers=workers > 0,
        pin_memory=device == "cuda",
    )

    def batches() -> Iterable[Batch]:
        for inputs, targets in loader:
            yield inputs.to(device, non_blocking=True), targets.to(device, non_blocking=True)

    return Variant(len(data), batches)


def _time(variants: dict[str, Variant], device: str, repetitions: int) -> dict[str, list[float]]:
    """Return the samples per second of each variant and repetition."""
    order = random.Random(0)
    rates: dict[str, list[float]] = {name: [] for name in variants}
    for repetition in range(repetitions + 1):
        for name in order.sample(list(variants), len(variants)):
            start_s = time.perf_counter()
            for _ in variants[name].batches():
                pass
            if device == "cuda":
                torch.cuda.synchronize()
            seconds = time.perf_counter() - start_s
            if repetition > 0:  # the first one starts workers and fills caches
                rates[name].append(variants[name].samples / seconds)
    return rates


def _print(title: str, rates: dict[str, list[float]]) -> None:
    print(f"\n{title:<40} {'samples/s':>22} {OURS + ' / it':>18}")
    for name, values in rates.items():
        low, median, high = statistics.quantiles(values, n=4)
        line = f"  {name:<38} {median:>8.0f} [{low:.0f}, {high:.0f}]"
        if name != OURS:
            pairs = zip(rates[OURS], values, strict=True)
            low, median, high = statistics.quantiles((a / b for a, b in pairs), n=4)
            line = f"{line:<65} {median:>8.1f} [{low:.1f}, {high:.1f}]"
        print(line)


if __name__ == "__main__":
    main()
