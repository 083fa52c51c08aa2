"""What the trained networks of a study do to test images, as the page of `report --html` shows it.

From what the test of each trial has left in its folder: neither torch nor the data are needed.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wconv_jobs import catalog
from wconv_jobs.before_after import BeforeAfter, png_of
from wconv_jobs.errors import JobError
from wconv_jobs.spec import CONFUSION_FILE, TEST_IMAGE_FILE
from wconv_sweep.amounts import amount, density_text
from wconv_sweep.evidence.results import StudyResult, TrialRow
from wconv_sweep.evidence.status import StudyStatus
from wconv_sweep.results.export import named_result
from wconv_sweep.results.html_pictures import data_uri

PSNR = "psnr_db"


@dataclass(frozen=True)
class View:
    """A test image in one of its states."""

    caption: str
    """What it is, with its PSNR."""
    alt: str
    """What somebody reads who does not see it."""
    data: str


@dataclass(frozen=True)
class Networks:
    """What is there of the networks of a study, in words and pictures."""

    text: str
    """Which networks these are, or what is missing and what to do."""
    images: dict[str, list[View]]
    """By the test image's name: before, after plain convolution, after the best, truth."""
    scores: list[tuple[str, str]]
    """Of all of the test part."""


def networks_of(status: StudyStatus) -> Networks | None:
    """Return what the networks of a study do; None where the other pictures say it.

    Those of the density that is named and of plain convolution, on the same seed.
    """
    result = named_result(status)
    if result is None:
        return None
    data = status.config.data
    if catalog.data_kind(data.name, data.kind) == "classification":
        there = (_folder(status, result.best) / CONFUSION_FILE).is_file()
        return None if there else Networks(_missing(status, result.best, CONFUSION_FILE), {}, [])
    try:
        best = _kept(status, result.best)
        plain = _kept(status, result.plain) if result.plain else []
    except JobError as error:
        return Networks(f"{error}.", {}, [])
    if not best:
        first = TEST_IMAGE_FILE.format(1)
        return Networks(_missing(status, result.best, first), {}, [])
    by_name = {} if result.plain is result.best else {each.name: each for each in plain}
    images = {each.name: list(_views(each, by_name.get(each.name), result.best)) for each in best}
    return Networks(_text(result), images, list(_scores(result)))


def _folder(status: StudyStatus, row: TrialRow) -> Path:
    assert row.trial is not None
    return status.folder.trial(row.trial)


def _kept(status: StudyStatus, row: TrialRow) -> list[BeforeAfter]:
    """Return the test images that the trial has kept.

    Raises:
        JobError: a file is another one.
    """
    paths = sorted(_folder(status, row).glob(TEST_IMAGE_FILE.format("*")))
    return [_read(path) for path in paths]


def _read(path: Path) -> BeforeAfter:
    try:
        return BeforeAfter.of_png(path.read_bytes())
    except JobError as error:
        raise JobError(f"{path}: {error}") from error


def _missing(status: StudyStatus, row: TrialRow, name: str) -> str:
    return (
        f"There is no {status.study}/{_folder(status, row).name}/{name} in the folder of runs, so "
        "what the network does to the test part cannot be shown. Trials of an earlier version "
        "have kept none. While the trial's checkpoint and the data are there, `wconv-sweep export "
        f"--study {status.study} --weights FOLDER` works it out."
    )


def _text(result: StudyResult) -> str:
    best, plain = result.best, result.plain
    what = f"Trial {best.trial}, density {density_text(best.density)}"
    if plain is not None and plain is not best:
        same = plain.replicate == best.replicate
        what += f", beside plain convolution, trial {plain.trial}"
        what += ", which began with the same weights" if same else ""
    return (
        f"{what}. Of the first test images the middle is shown; the PSNR is that of the whole "
        "image."
    )


def _scores(result: StudyResult) -> Iterator[tuple[str, str]]:
    best, plain = result.best, result.plain
    rows = [("noisy input", best.metrics.get(f"input_{PSNR}"))]
    if plain is not None and plain is not best:
        rows.append(("plain convolution", plain.metrics.get(f"test_{PSNR}")))
    rows.append((f"density {density_text(best.density)}", best.metrics.get(f"test_{PSNR}")))
    for name, value in rows:
        if value is not None:
            yield f"test part, {name}", amount(PSNR, value)


def _views(shown: BeforeAfter, plain: BeforeAfter | None, best: TrialRow) -> Iterator[View]:
    yield _view(shown.name, "noisy", shown.input_HWC, shown.input_psnr_db)
    # Only beside the same noise can one compare.
    if plain is not None and np.array_equal(plain.input_HWC, shown.input_HWC):
        yield _view(shown.name, "plain convolution", plain.output_HWC, plain.output_psnr_db)
    density = f"density {density_text(best.density)}"
    yield _view(shown.name, density, shown.output_HWC, shown.output_psnr_db)
    yield _view(shown.name, "truth", shown.target_HWC, None)


def _view(name: str, state: str, pixel_HWC: NDArray[np.uint8], psnr_db: float | None) -> View:
    score = "" if psnr_db is None else f", {amount(PSNR, psnr_db)}"
    return View(
        f"{state}{score}",
        f"The middle of the test image {name}: {state}{score}.",
        data_uri(png_of(pixel_HWC), "image/png"),
    )
