"""A calibration with numbers that can be checked by hand."""

from typing import Any

from tests.sweep.tiny import TINY
from wconv_jobs.recipe.optimizer import Implementation
from wconv_jobs.spec import Compile, MemoryFormat
from wconv_sweep.evidence.calibration_record import (
    Amp,
    Calibration,
    LeftOut,
    MeasuredShape,
    Round,
    Shape,
)
from wconv_sweep.study.config import StudyConfig

FORMATS: tuple[MemoryFormat, ...] = ("contiguous", "channels_last")


def config(**recipe: Any) -> StudyConfig:
    """Return a study of 60 trials of 10 epochs, of one rank, contiguous, without autocast."""
    keys = {"dtype": "float32", "epochs": 10, "memory_format": "contiguous"} | recipe
    return StudyConfig.model_validate(
        TINY | {"recipe": TINY["recipe"] | keys, "budget": {"trials": 60}}
    )


def measured(
    *steps_per_s: float,
    ranks: int = 1,
    memory_format: MemoryFormat = "contiguous",
    amp: Amp = "none",
    lanes: int = 1,
    per_gpu: int = 1,
    compile: Compile = False,
    optimizer: Implementation | None = None,
) -> MeasuredShape:
    """Return one measurement for each speed; start and validation take no time."""
    return MeasuredShape(
        shape=Shape(
            ranks=ranks,
            memory_format=memory_format,
            amp=amp,
            lanes=lanes,
            per_gpu=per_gpu,
            compile=compile,
            optimizer=optimizer,
        ),
        rounds=[Round(steps_per_s=each, validation_s=0, start_s=0) for each in steps_per_s],
        rank_memory_bytes=3 * 2**20,
    )


def calibration(*each: MeasuredShape, gpus: int = 0, left_out: tuple[LeftOut, ...] = ()) -> Any:
    """Return them with 36 steps in an epoch, so 360 in a trial."""
    return Calibration(
        host="n1",
        device="NVIDIA A100" if gpus else "cpu (x86_64)",
        torch="2.13.0",
        gpus=gpus,
        cores=4,
        steps_per_epoch=36,
        measured=list(each),
        left_out=list(left_out),
    )
