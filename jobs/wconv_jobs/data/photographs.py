"""Denoising of the photographs in scikit-image: real images without a download.

Only photographs in the public domain or under CC0 are used. Licenses are those that scikit-image
0.26 states in the documentation of `skimage.data`:

    part        photograph         pixels       license
    train       coffee             600 x 400    CC0 by the photographer, Rachel Michetti
    train       rocket             640 x 427    public domain, SpaceX
    train       hubble_deep_field  1000 x 872   public domain, NASA
    train       retina             1411 x 1411  CC0, Mikael Haggstrom
    validation  chelsea            451 x 300    CC0 by the photographer, Stefan van der Walt
    test        astronaut          512 x 512    public domain, NASA
"""

from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import Field, FiniteFloat

from wconv_jobs.kinds import TaskKind
from wconv_jobs.spec_base import Spec

if TYPE_CHECKING:
    import torch

    from wconv_jobs.tasks.task import Task

KIND: TaskKind = "denoising"
SMOKE = {"crop_px": 64, "crops_per_epoch": 16}

TRAIN = ("coffee.png", "rocket.jpg", "hubble_deep_field.jpg", "retina.jpg")
VALIDATION = ("chelsea.png",)
TEST = ("astronaut.png",)


class Options(Spec):
    """Options of the data set."""

    noise_sigma: Annotated[FiniteFloat, Field(gt=0, le=255)] = 25.0
    """Standard deviation of the noise, gray levels of 255."""
    crop_px: Annotated[int, Field(ge=1, le=400)] = 48
    """Width and height of the training crops, pixels; the smallest photograph has 400."""
    crops_per_epoch: Annotated[int, Field(ge=1)] = 800
    """Training samples in an epoch."""


def load(options: Options, *, seed: int, device: "torch.device | str") -> "Task":
    """Return the task.

    Args:
        options: see there.
        seed: source of crops and noise.
        device: of the batches.

    Raises:
        JobError: the installed scikit-image lacks a photograph.
    """
    # Here, because a login node asks for the shape of a sample and has no use for torch.
    from wconv_jobs.tasks.denoising import DenoisingTask
    from wconv_jobs.tasks.pictures import PictureStore

    # The files themselves, because the functions of skimage.data may go to the network.
    folder = Path(str(files("skimage"))) / "data"
    paths = [folder / name for name in (*TRAIN, *VALIDATION, *TEST)]
    last = len(TRAIN) + len(VALIDATION)
    return DenoisingTask(
        store=PictureStore.decoded(paths, [path.stem for path in paths], device),
        parts={
            "train": range(len(TRAIN)),
            "validation": range(len(TRAIN), last),
            "test": range(last, len(paths)),
        },
        seed=seed,
        device=device,
        noise_sigma=options.noise_sigma,
        crop_px=options.crop_px,
        crops_per_epoch=options.crops_per_epoch,
    )


def sample_shape(options: Options) -> tuple[int, ...]:
    """Return (channels, height, width) of a training crop."""
    return 3, options.crop_px, options.crop_px
