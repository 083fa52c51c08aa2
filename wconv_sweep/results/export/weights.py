"""The trained network of the selected density of a study, for use without this program.

Folded into stock convolutions, as safetensors, with a model card, and with its test
score computed again from the written bytes. For what a program of the user's has trained, see
`program_weights`.
"""

import json
from pathlib import Path

from wconv_jobs.errors import CheckpointError, CheckpointFault, JobError
from wconv_sweep.errors import ConfigurationError
from wconv_sweep.evidence.results import TrialRow
from wconv_sweep.evidence.study_status import StudyStatus
from wconv_sweep.results.export.entries import selected_result
from wconv_sweep.results.export.model_card import model_card
from wconv_sweep.results.export.program_weights import CARD, program_files
from wconv_sweep.results.export.reproduced import check_reproduced
from wconv_sweep.slots.definitions import load_frozen_config, study_place
from wconv_sweep.storage.open_storage import Storage
from wconv_sweep.study.trial_spec import config_at, trial_spec

WEIGHTS = "model.safetensors"
IMAGES = 3
"""Test images that are shown before and after the network."""
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
        return program_files(config, status, result, folder / status.study)
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
    check_reproduced(status, best, reproduced)
    target = folder / status.study
    files = {target / name: picture for name, picture in pictures.items()}
    card = model_card(status, result, reproduced, sorted(pictures))
    return {target / WEIGHTS: content, target / CARD: card.encode(), **files}


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
