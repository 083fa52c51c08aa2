"""What `calibrate` has measured of a study, kept in the folder of all runs, and what follows."""

import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError

from wconv_jobs.files.atomic import replace_file
from wconv_jobs.recipe.optimizer import Implementation
from wconv_jobs.spec import Compile, MemoryFormat, default_memory_format
from wconv_jobs.spec_base import Spec
from wconv_sweep.evidence.trial_cost import costs_the_same
from wconv_sweep.study.config import StudyConfig

FOLDER = "_calibration"
"""Name in the folder of all runs; no study can have this name."""

Amp = Literal["none", "bfloat16"]


class Shape(Spec):
    """How a trial sits on the hardware, and how many do so side by side."""

    ranks: Annotated[int, Field(ge=1)]
    memory_format: MemoryFormat
    amp: Amp
    lanes: Annotated[int, Field(ge=1)]
    """Trials side by side on the node."""
    per_gpu: Annotated[int, Field(ge=1)] = 1
    """Trials on each GPU."""
    compile: Compile = False
    optimizer: Implementation | None = None
    """Its implementation."""


class Round(Spec):
    """One measurement of a shape: means over its lanes."""

    steps_per_s: Annotated[float, Field(gt=0)]
    """Of one trial."""
    validation_s: Annotated[float, Field(ge=0)]
    """After each epoch."""
    start_s: Annotated[float, Field(ge=0)]
    """From the start of the processes to the first steps."""


class MeasuredShape(Spec):
    """The measurements of a shape: the n-th ones of all shapes were made next to each other."""

    shape: Shape
    rounds: Annotated[list[Round], Field(min_length=1)]
    rank_memory_bytes: Annotated[float, Field(ge=0)]


class LeftOut(Spec):
    """Shapes that were not measured."""

    ranks: int
    memory_format: MemoryFormat | None = None
    """Null: all."""
    amp: Amp | None = None
    """Null: all."""
    reason: str


class Calibration(Spec):
    """What was measured on a node."""

    host: str
    device: str
    """Name of the GPU, or `cpu (x86_64)`."""
    torch: str
    gpus: int
    """0: training was on CPUs."""
    cores: int
    steps_per_epoch: Annotated[int, Field(ge=1)]
    measured: Annotated[list[MeasuredShape], Field(min_length=1)]
    left_out: list[LeftOut]
    untried: Annotated[int, Field(ge=0)] = 0
    """Shapes that nobody has asked for: combinations of several changes."""


class CalibrationRecord(Spec):
    """A file in `FOLDER`."""

    study: str
    cluster: str
    measured_at: str
    """Date and time in UTC, ISO 8601."""
    definition: dict[str, Any]
    """That of the study, as far as the cost of a step follows from it, without its shape."""
    calibration: Calibration


@dataclass(frozen=True, kw_only=True)
class CalibratedTrial:
    """The expected cost of one trial of a study, trained to its last epoch, without its test."""

    hours: float
    """GPU-hours, a GPU for each rank; core-hours where ranks have none. The median of the
    measurements."""
    lowest_h: float
    highest_h: float
    on_gpus: bool
    device: str
    cluster: str
    measured_at: str


def write_record(
    runs: Path, config: StudyConfig, cluster: str, measured: Calibration, measured_at: str
) -> Path:
    """Keep what was measured in the folder of all runs, in place of what was before.

    Args:
        runs: the folder.
        config: of the study.
        cluster: name of the profile.
        measured: on one of its nodes.
        measured_at: date and time in UTC, ISO 8601.

    Returns:
        The file.
    """
    record = CalibrationRecord(
        study=config.study,
        cluster=cluster,
        measured_at=measured_at,
        definition=_shapeless(config).plain(),
        calibration=measured,
    )
    path = runs / FOLDER / f"{config.study}.{cluster}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, record.model_dump_json(indent=2) + "\n")
    return path


def calibrated_trials(runs: Path, config: StudyConfig) -> list[CalibratedTrial]:
    """Return what a trial of a study costs by what `calibrate` has measured, the latest first.

    There is one for each cluster on which its shape was measured, with the network, data and steps
    that it has now. Records that cannot be read are passed over.

    Args:
        runs: folder of all runs, which need not exist.
        config: of the study.
    """
    found = []
    for path in (runs / FOLDER).glob(f"{config.study}.*.json"):
        try:
            record = CalibrationRecord.model_validate_json(path.read_bytes())
        except (OSError, ValidationError):
            continue
        fits = costs_the_same(record.definition, _shapeless(config))
        trial = _trial_of(record, config) if fits else None
        found += [trial] if trial else []
    return sorted(found, key=lambda trial: trial.measured_at, reverse=True)


def shape_of(config: StudyConfig, lanes: int) -> Shape:
    """Return the shape of a study's trials as its file has them."""
    recipe = config.recipe
    memory_format = recipe.memory_format or default_memory_format(config.model, recipe)
    return Shape(
        ranks=config.trial.ranks,
        memory_format=memory_format,
        amp=recipe.amp,
        lanes=lanes,
        per_gpu=config.trial.per_gpu,
        compile=recipe.compile,
        optimizer=recipe.optimizer.implementation,
    )


def in_shape(config: StudyConfig, shape: Shape) -> StudyConfig:
    """Return a study whose trials have a shape, its ranks and lanes apart."""
    recipe = config.recipe
    optimizer = recipe.optimizer.model_copy(update={"implementation": shape.optimizer})
    changed = {
        "memory_format": shape.memory_format,
        "amp": shape.amp,
        "compile": shape.compile,
        "optimizer": optimizer,
    }
    return config.model_copy(update={"recipe": recipe.model_copy(update=changed)})


def trial_s(measured: Round, steps_per_epoch: int, epochs: int) -> float:
    """Return the time of a trial, to its last epoch and without its test, seconds."""
    epoch_s = steps_per_epoch / measured.steps_per_s + measured.validation_s
    return measured.start_s + epochs * epoch_s


def _trial_of(record: CalibrationRecord, config: StudyConfig) -> CalibratedTrial | None:
    found, epochs = record.calibration, config.recipe.epochs
    fitting = [
        each for each in found.measured if each.shape == shape_of(config, lanes=each.shape.lanes)
    ]
    if not fitting:
        return None
    # As pilots train them: as many side by side as there is room for.
    fullest = max(fitting, key=lambda each: each.shape.lanes)
    trial = config.trial
    held = trial.gpus if found.gpus else trial.ranks * trial.threads_per_rank
    hours = [held * trial_s(each, found.steps_per_epoch, epochs) / 3600 for each in fullest.rounds]
    return CalibratedTrial(
        hours=statistics.median(hours),
        lowest_h=min(hours),
        highest_h=max(hours),
        on_gpus=found.gpus > 0,
        device=found.device,
        cluster=record.cluster,
        measured_at=record.measured_at,
    )


def _shapeless(config: StudyConfig) -> StudyConfig:
    """Return a study whose steps cost the same, in a shape and for a time that are always one."""
    plain = in_shape(config, Shape(ranks=1, memory_format="contiguous", amp="none", lanes=1))
    recipe = plain.recipe.model_copy(
        update={"epochs": 1, "early_stopping": None, "test_metrics": []}
    )
    trial = config.trial.model_copy(update={"ranks": 1, "per_gpu": 1})
    return plain.model_copy(update={"recipe": recipe, "trial": trial})
