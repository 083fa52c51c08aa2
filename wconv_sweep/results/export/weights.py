"""The trained network of the selected density of a study, for use without this program.

Folded into stock convolutions, as safetensors, with a model card, and with its test
score computed again from the written bytes. What a program of the user's has trained is copied as
it is: its format is not known.
"""

import json
import math
from pathlib import Path

from wconv_jobs.errors import CheckpointError, CheckpointFault, JobError
from wconv_jobs.program_trial import program_folder
from wconv_sweep.errors import ConfigurationError, SweepFailed
from wconv_sweep.evidence.results import StudyResult, TrialRow
from wconv_sweep.evidence.study_status import StudyStatus
from wconv_sweep.results.export.entries import selected_result
from wconv_sweep.results.export.model_card import given_card, model_card
from wconv_sweep.slots.definitions import load_frozen_config, study_place
from wconv_sweep.storage.open_storage import Storage
from wconv_sweep.study.trial_spec import config_at, trial_spec
from wconv_trial.names import WEIGHTS_KEY

WEIGHTS = "model.safetensors"
CARD = "README.md"
IMAGES = 3
"""Test images that are shown before and after the network."""
TOLERANCE = 1e-3
"""Relative difference to the recorded score: another device rounds differently."""
_REMEDIES: dict[CheckpointFault, str] = {
    "unusable": "restore the file",
    "another version": "export with the version that trained it (the study began with {version})",
    "another trial": "restore this trial's own file",
}


def weight_files(storage: Storage, status: StudyStatus, folder: Path) -> dict[Path, bytes]:
    """Return the network of a study that has a result, as the content of files.

    Raises:
        ConfigurationError: its checkpoint or its data cannot be used, or the program that has
            trained it has named no file.
        SweepFailed: what would be written does not reproduce the recorded score.
    """
    # Imported here: they load torch.
    import safetensors.torch

    from wconv_jobs.training import trained

    result = selected_result(status)
    assert result is not None
    best = result.best
    assert best.trial is not None
    assert best.point is not None
    config = load_frozen_config(storage, status.study)
    if config.trainer is not None:
        return _given(status, result, folder / status.study)
    spec = trial_spec(
        config,
        best.point,
        best.replicate,
        study_place(storage, status.study).folder.trial(best.trial),
    )
    try:
        weights = trained.load_weights(spec)
        contiguous = {name: value.contiguous().clone() for name, value in weights.items()}
        content = safetensors.torch.save(contiguous, _metadata(status, best))
        model = trained.build_trained(spec, safetensors.torch.load(content))
        reproduced = trained.test_metrics(spec, model)
        pictures = {
            f"before_after_{number}.png": each.png()
            for number, each in enumerate(trained.test_images(spec, model, IMAGES), start=1)
        }
    except CheckpointError as error:
        raise ConfigurationError(
            f"study {status.study}: {error}. A completed trial is not trained again: "
            f"{_REMEDIES[error.why].format(version=status.version)}, or leave --weights out."
        ) from error
    except JobError as error:
        raise ConfigurationError(f"study {status.study}: {error}") from error
    _check(status, best, reproduced)
    target = folder / status.study
    files = {target / name: picture for name, picture in pictures.items()}
    card = model_card(status, result, reproduced, sorted(pictures))
    return {target / WEIGHTS: content, target / CARD: card.encode(), **files}


def _given(status: StudyStatus, result: StudyResult, target: Path) -> dict[Path, bytes]:
    """Return the file that a program of the user's has named, and its card."""
    trial = result.best.trial
    assert trial is not None
    written = program_folder(status.folder.trial(trial))
    name = result.best.provenance.get(WEIGHTS_KEY)
    if name is None:
        raise ConfigurationError(
            f"study {status.study}: {status.config.model.name} has named no weights in trial "
            f"{trial}, whose files are in {written}. Leave --weights out, and call "
            "trial.finish(weights=FILE) in later studies."
        )
    try:
        content = (written / name).read_bytes()
    except OSError as error:
        raise ConfigurationError(
            f"study {status.study}: {written / name}: cannot be read ({error.strerror}). A "
            "completed trial is not trained again: restore the file, or leave --weights out."
        ) from error
    file = target / Path(name).name
    return {file: content, target / CARD: given_card(status, result, file.name).encode()}


def _metadata(status: StudyStatus, row: TrialRow) -> dict[str, str]:
    assert row.point is not None
    config = config_at(status.config, row.point)
    return {
        "format": "pt",
        "study": config.study,
        "model": config.model.model_dump_json(),
        "density": json.dumps(row.density),
        "wconv_sweep": status.version,
    }


def _check(status: StudyStatus, row: TrialRow, reproduced: dict[str, float]) -> None:
    name = f"test_{status.config.objective.metric}"
    recorded = row.metrics.get(name)
    if recorded is not None and not math.isclose(reproduced[name], recorded, rel_tol=TOLERANCE):
        raise SweepFailed(
            f"study {status.study}: the exported network has a {name} of {reproduced[name]:.6g}, "
            f"but trial {row.trial} had {recorded:.6g}. Nothing was written: the data or the "
            "program differ from those of the study."
        )
