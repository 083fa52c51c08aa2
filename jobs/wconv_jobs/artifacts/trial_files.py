"""Writes the files that the test of a trial leaves beside the checkpoint."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from torch import Tensor, nn

from wconv_jobs.artifacts.before_after import BeforeAfter
from wconv_jobs.artifacts.test_images import restored
from wconv_jobs.files.atomic import replace_file
from wconv_jobs.spec import CONFUSION_FILE, TEST_IMAGE_FILE, MemoryFormat
from wconv_jobs.tasks.task import Task

IMAGES = 2
"""Number of test images to keep of every trial, before and after the network."""
IMAGE_PX = 160
"""Width and height of the kept middle of them: less than half a megabyte per trial, however
large the images are."""


def write_confusion(matrix_KK: Tensor, folder: Path) -> None:
    """Write the confusion matrix of the test, see `CONFUSION_FILE`.

    If it cannot be written, a line of the log says so: the trial itself is complete.
    """
    lines = [",".join(map(str, row)) for row in matrix_KK.tolist()]
    with _dispensable("the confusion matrix", folder):
        replace_file(folder / CONFUSION_FILE, "\n".join(lines) + "\n")


def write_images(
    model: nn.Module,
    task: Task,
    folder: Path,
    on_batch: Callable[[], None],
    memory_format: MemoryFormat = "contiguous",
    found: list[BeforeAfter] | None = None,
) -> None:
    """Write the first test images before and after the network, see `TEST_IMAGE_FILE`.

    If they cannot be read or written, a line of the log says so: the trial itself is complete.

    Args:
        model: the trained network; is put into evaluation mode.
        task: the data; nothing is written of tasks that restore no images.
        folder: of the trial.
        on_batch: called before each batch of images, or once where they are known; what it raises
            ends the work.
        memory_format: order of the network's weights and of the images that it gets.
        found: the images, where they are known; else the network is shown them once more.
    """
    with _dispensable("test images before and after the network", folder):
        if found is None:
            found = restored(model, task, IMAGES, on_batch, memory_format)
        elif found:
            on_batch()
        for number, each in enumerate(found, start=1):
            replace_file(folder / TEST_IMAGE_FILE.format(number), each.middle(IMAGE_PX).png())


@contextmanager
def _dispensable(what: str, folder: Path) -> Iterator[None]:
    """Let the trial continue without a file, e.g. on a full disk."""
    try:
        yield
    except OSError as error:
        with suppress(OSError):  # the log may be on the same full disk
            print(
                f"{folder}: {what} could not be saved ({error}). The trial is complete without. "
                "Free disk space, or make the folder writable, for later trials.",
                file=sys.stderr,
                flush=True,
            )
