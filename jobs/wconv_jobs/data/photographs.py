"""Denoising of the photographs that come with scikit-image: real images without a download.

Only photographs in the public domain or under CC0 are used. Licences are those that scikit-image
0.26 states in the documentation of `skimage.data`:

    part        photograph         pixels       licence
    train       coffee             600 x 400    CC0 by the photographer, Rachel Michetti
    train       rocket             640 x 427    public domain, SpaceX
    train       hubble_deep_field  1000 x 872   public domain, NASA
    train       retina             1411 x 1411  CC0, Mikael Haggstrom
    validation  chelsea            451 x 300    CC0 by the photographer, Stefan van der Walt
    test        astronaut          512 x 512    public domain, NASA
"""

from importlib.resources import files
from pathlib import Path
from typing import Annotated

from pydantic import Field

from wconv_jobs.denoising import DenoisingTask
from wconv_jobs.images import Picture, decode
from wconv_jobs.task import Task

TRAIN = ("coffee.png", "rocket.jpg", "hubble_deep_field.jpg", "retina.jpg")
VALIDATION = ("chelsea.png",)
TEST = ("astronaut.png",)

METRICS = ("psnr_db", "nrmse")


def load(
    *,
    seed: int,
    noise_sigma: Annotated[float, Field(gt=0, le=255)] = 25.0,
    crop_px: Annotated[int, Field(ge=1, le=400)] = 48,
    crops_per_epoch: Annotated[int, Field(ge=1)] = 800,
) -> Task:
    """Return the task.

    Args:
        seed: source of crops and noise.
        noise_sigma: standard deviation of the noise, grey levels of 255.
        crop_px: width and height of the training crops, pixels; the smallest photograph has 400.
        crops_per_epoch: training samples in an epoch.

    Raises:
        JobError: the installed scikit-image lacks a photograph.
    """
    return DenoisingTask(
        train=_pictures(TRAIN),
        validation=_pictures(VALIDATION),
        test=_pictures(TEST),
        seed=seed,
        noise_sigma=noise_sigma,
        crop_px=crop_px,
        crops_per_epoch=crops_per_epoch,
        metrics=METRICS,
    )


def _pictures(file_names: tuple[str, ...]) -> list[Picture]:
    # The files themselves, because the functions of skimage.data may go to the network.
    folder = Path(str(files("skimage"))) / "data"
    return [Picture(Path(name).stem, decode(folder / name)) for name in file_names]
