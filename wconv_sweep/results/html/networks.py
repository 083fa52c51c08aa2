"""Test images before and after the trained networks of a study, for `report --html`.

Read from the files of each trial's test: needs neither torch nor the data.
"""

import fnmatch
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wconv_jobs import catalog
from wconv_jobs.artifacts.before_after import BeforeAfter, png_of
from wconv_jobs.errors import JobError
from wconv_jobs.spec import CONFUSION_FILE, TEST_IMAGE_FILE
from wconv_sweep.amounts import amount, density_text
from wconv_sweep.evidence.results import StudyResult, TrialRow
from wconv_sweep.evidence.study_status import StudyStatus
from wconv_sweep.results.export.entries import selected_result
from wconv_sweep.results.html.pictures import data_uri

PSNR = "psnr_db"


@dataclass(frozen=True)
class View:
    """A test image in one of its states."""

    caption: str
    """Its caption, with its PSNR."""
    alt: str
    """Alternative text."""
    data: str


@dataclass(frozen=True)
class Networks:
    """Texts and images about the networks of a study."""

    text: str
    """Describes the networks, missing or damaged files, and remedies."""
    images: list[tuple[str, list[View]]]
    """Each test image with its name: before, after plain convolution, after the best, truth."""
    scores: list[tuple[str, str]]
    """Of all of the test set."""


@dataclass(frozen=True)
class _Kept:
    """The saved test images of a trial."""

    images: dict[str, BeforeAfter]
    """By the name of the file; those of a data set of one's own may repeat the image's."""
    problems: list[str]
    """The unreadable files, a sentence each."""


def networks_of(status: StudyStatus) -> Networks | None:
    """Return the texts and images about the networks of a study.

    Those are the selected density and plain convolution, of one seed if both have
    completed one; the text says where they differ. None before a trial has completed, and of a
    classifier whose confusion matrix is there: it is among the other figures.
    """
    result = selected_result(status)
    if result is None:
        return None
    if status.config.trainer is not None:
        return None
    data = status.config.data
    if catalog.data_kind(data.name, data.kind) == "classification":
        return _confusion(status, result.best)
    best = _kept(status, result.best)
    if not best.images:
        return Networks(" ".join(best.problems) or _no_images(status, result.best), [], [])
    plain = _Kept({}, []) if result.plain in (None, result.best) else _kept(status, result.plain)
    beside = {
        name: plain.images[name]
        for name, shown in best.images.items()
        # Only images with the same noise can be compared.
        if name in plain.images and np.array_equal(plain.images[name].input_HWC, shown.input_HWC)
    }
    images = [
        (shown.name, list(_views(shown, beside.get(name), result.best)))
        for name, shown in best.images.items()
    ]
    sentences = [_text(result, plain_is_shown=bool(beside)), *best.problems, *plain.problems]
    return Networks(" ".join(sentences), images, list(_scores(result)))


def _folder(status: StudyStatus, row: TrialRow) -> Path:
    assert row.trial is not None
    return status.folder.trial(row.trial)


def _kept(status: StudyStatus, row: TrialRow) -> _Kept:
    folder = _folder(status, row)
    kept = _Kept({}, [])
    try:
        # Not folder.glob(), for which a folder that may not be read is an empty one.
        names = sorted(fnmatch.filter(os.listdir(folder), TEST_IMAGE_FILE.format("*")))
    except FileNotFoundError:
        return kept
    except OSError as error:
        kept.problems.append(_unreadable(status, folder, error))
        return kept
    for name in names:
        try:
            kept.images[name] = BeforeAfter.of_png((folder / name).read_bytes())
        except OSError as error:
            kept.problems.append(_unreadable(status, folder / name, error))
        except JobError as error:
            kept.problems.append(
                f"{_shown(status, folder / name)} {error}. Delete it; {_export(status)} makes the "
                "pictures of a trial whose checkpoint is there."
            )
    return kept


def _confusion(status: StudyStatus, row: TrialRow) -> Networks | None:
    path = _folder(status, row) / CONFUSION_FILE
    try:
        path.stat()
    except FileNotFoundError:
        text = (
            f"There is no {_shown(status, path)} in the folder of runs, so the page cannot show "
            "which classes the network confuses. Trials of an earlier version or with a "
            "full disk have kept none; one that is retrained keeps it."
        )
    except OSError as error:
        text = _unreadable(status, path, error)
    else:
        return None
    return Networks(text, [], [])


def _no_images(status: StudyStatus, row: TrialRow) -> str:
    path = _folder(status, row) / TEST_IMAGE_FILE.format(1)
    return (
        f"There is no {_shown(status, path)} in the folder of runs, so what the network does to "
        "the test set cannot be shown. Trials of an earlier version or with a full disk have "
        "kept none, or the data are not pairs of gray or RGB images of one size, of which none "
        "are kept. In the first case, while the trial's checkpoint and the data are there, "
        f"{_export(status)} works it out."
    )


def _unreadable(status: StudyStatus, path: Path, error: OSError) -> str:
    return (
        f"{_shown(status, path)} in the folder of runs cannot be read ({error.strerror}) and is "
        "not shown. Where you may not read it, ask its owner for the right, or for this page."
    )


def _shown(status: StudyStatus, path: Path) -> str:
    """Return a path relative to the folder of runs, which differs between machines."""
    return f"{status.study}/{path.relative_to(status.folder.path)}"


def _export(status: StudyStatus) -> str:
    return f"`wconv-sweep export --study {status.study} --weights FOLDER`"


def _text(result: StudyResult, *, plain_is_shown: bool) -> str:
    best, plain = result.best, result.plain
    what = f"Trial {best.trial}, density {density_text(best.density, best.settings)}"
    without = ""
    if plain is not None and plain is not best:
        if plain_is_shown:
            what += f", beside plain convolution, trial {plain.trial}, which started with "
            what += (
                "the same weights"
                if plain.replicate == best.replicate
                else f"other weights (seed index {plain.replicate}, not {best.replicate})"
            )
        else:
            without = (
                f" Of plain convolution, trial {plain.trial}, no picture on the same noise was "
                "kept."
            )
    return (
        f"{what}. Of the first test images the middle is shown; the PSNR is that of the whole "
        f"image.{without}"
    )


def _scores(result: StudyResult) -> Iterator[tuple[str, str]]:
    best, plain = result.best, result.plain
    rows = [("noisy input", best.metrics.get(f"input_{PSNR}"))]
    if plain is not None and plain is not best:
        rows.append(("plain convolution", plain.metrics.get(f"test_{PSNR}")))
    rows.append(
        (f"density {density_text(best.density, best.settings)}", best.metrics.get(f"test_{PSNR}"))
    )
    for name, value in rows:
        if value is not None:
            yield f"test set, {name}", amount(PSNR, value)


def _views(shown: BeforeAfter, plain: BeforeAfter | None, best: TrialRow) -> Iterator[View]:
    yield _view(shown.name, "noisy", shown.input_HWC, shown.input_psnr_db)
    if plain is not None:
        yield _view(shown.name, "plain convolution", plain.output_HWC, plain.output_psnr_db)
    density = f"density {density_text(best.density, best.settings)}"
    yield _view(shown.name, density, shown.output_HWC, shown.output_psnr_db)
    yield _view(shown.name, "truth", shown.target_HWC, None)


def _view(name: str, state: str, pixel_HWC: NDArray[np.uint8], psnr_db: float | None) -> View:
    score = "" if psnr_db is None else f", {amount(PSNR, psnr_db)}"
    return View(
        f"{state}{score}",
        f"The middle of the test image {name}: {state}{score}.",
        data_uri(png_of(pixel_HWC), "image/png"),
    )
