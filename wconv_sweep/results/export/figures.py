"""The figures of `export --plots`, from the studies of a storage."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from sqlalchemy import select

from wconv_jobs.spec import CONFUSION_FILE
from wconv_sweep.evidence.candidates import arm_of
from wconv_sweep.evidence.results import StudyResult, TrialRow
from wconv_sweep.evidence.study_status import StudyStatus
from wconv_sweep.evidence.surrogate import fit
from wconv_sweep.results import plots
from wconv_sweep.results.export.arm_figures import MIN_FITTED, arm_figures
from wconv_sweep.results.export.entries import selected_density, selected_result
from wconv_sweep.storage import trial_rows
from wconv_sweep.storage.open_storage import Storage
from wconv_sweep.storage.tables import SEARCHING, SLOTS, SlotState


def figures_of(storage: Storage, status: StudyStatus) -> dict[str, Figure]:
    """Return the figures of a study that has a result, by name."""
    assert status.result is not None
    return dict(_figures(storage, status, status.result))


def plot_files(storage: Storage, status: StudyStatus, folder: Path) -> dict[Path, bytes]:
    """Return the figures of a study that has a result, as the content of files."""
    return {
        path: plots.render(figure, form)
        for name, figure in figures_of(storage, status).items()
        for path, form in plots.file_names(folder / status.study, name).items()
    }


def _figures(
    storage: Storage, status: StudyStatus, result: StudyResult
) -> Iterator[tuple[str, Figure]]:
    study = status.study
    yield "density", plots.kernel_figure(selected_density(status, result), study)
    completed = _completed(status)
    trials = _trials(status, result, completed)
    # Where other keys are searched, too, the density alone does not explain the values.
    if status.config.search.also:
        yield from arm_figures(status.config, status.trials)
    elif len(completed) >= MIN_FITTED:
        bounds, direction = status.config.search.bounds, status.config.direction
        surrogate = fit(trials.density_NC, trials.value_N, bounds, direction, status.config.seed)
        yield "response", plots.response_figure(trials, surrogate, study)
    metric = status.config.objective.metric
    yield (
        "learning_curves",
        plots.learning_figure(
            _curves(storage, study),
            metric,
            _highlighted(result),
            study,
            status.config.objective.unit,
        ),
    )
    hours = [row.gpu_hours for row in completed]
    counted = sum(hours) > 0
    yield (
        "cost",
        plots.cost_figure(
            hours if counted else [1.0] * len(completed),
            [float(row.value or 0.0) for row in completed],
            trials,
            "GPU-hours" if counted else "trials",
            study,
        ),
    )
    selected = selected_result(status)
    assert selected is not None
    assert selected.best.trial is not None
    counts_KK = _confusion(status.folder.trial(selected.best.trial) / CONFUSION_FILE)
    if counts_KK is not None:
        title = f"{study}, trial {selected.best.trial}, test set"
        yield "confusion", plots.confusion_figure(counts_KK, title)


def _confusion(path: Path) -> NDArray[np.int64] | None:
    """Return a confusion matrix; None if there is none, or the file is unreadable."""
    # Not np.loadtxt: it warns of an empty file, and takes half a matrix.
    try:
        lines = path.read_text("utf-8").splitlines()
        counts_KK = np.array([line.split(",") for line in lines], dtype=np.int64)
    except (OSError, ValueError, OverflowError):
        return None
    square = counts_KK.ndim == 2 and counts_KK.shape[0] == counts_KK.shape[1] > 0
    return counts_KK if square else None


def _completed(status: StudyStatus) -> list[TrialRow]:
    return [
        row
        for row in status.trials
        if row.state is SlotState.COMPLETE
        and row.stage in SEARCHING
        and row.value is not None
        and row.density is not None
        and row.arm is arm_of(status.config)
    ]


def _trials(status: StudyStatus, result: StudyResult, completed: list[TrialRow]) -> plots.Trials:
    return plots.Trials(
        density_NC=np.array([row.density for row in completed], dtype=np.float64),
        value_N=np.array([row.value for row in completed], dtype=np.float64),
        metric=status.config.objective.metric,
        direction=status.config.direction,
        plain=result.plain.value if result.plain else None,
        best=selected_density(status, result),
        own_unit=status.config.objective.unit,
    )


def _highlighted(result: StudyResult) -> dict[str, str]:
    shown = {str(result.best.trial): "best single run"}
    if result.plain is not None and result.plain.trial != result.best.trial:
        shown[str(result.plain.trial)] = "plain convolution"
    return shown


def _curves(storage: Storage, study: str) -> dict[str, dict[int, float]]:
    of_study = SLOTS.c.study == study
    with storage.read() as connection:
        numbers = connection.execute(
            select(SLOTS.c.trial_id, SLOTS.c.trial)
            .where(of_study, SLOTS.c.trial_id.is_not(None))
            .order_by(SLOTS.c.trial)
        ).all()
        values = trial_rows.intermediate_values(
            connection, select(SLOTS.c.trial_id).where(of_study)
        )
    return {str(row.trial): values[row.trial_id] for row in numbers if row.trial_id in values}
