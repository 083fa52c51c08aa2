"""The order to measure on a node, and the answer."""

from pathlib import Path
from typing import Annotated

from pydantic import Field

from wconv_jobs.spec_base import Spec
from wconv_sweep.evidence.calibration_record import Calibration
from wconv_sweep.study.config import StudyConfig


class CalibrationOrder(Spec):
    """What to measure."""

    folder: Path = Field(strict=False)
    """Gets the answer, and the logs of the ranks."""
    config: StudyConfig
    gpus: Annotated[int, Field(ge=0)]
    """GPUs of the node for trials; 0 trains on its cores."""
    cpus: Annotated[int, Field(ge=0)]
    """CPU cores of the node for trials; 0: those that the process may use."""
    ranks: list[Annotated[int, Field(ge=1)]]
    """Numbers of ranks to try; none: see `wconv_sweep.calibration.shapes`."""
    compile: bool
    """Whether compiled steps are tried, too."""
    every: bool
    """Whether every combination is measured, not one change of the study's shape at a time."""
    seconds: Annotated[float, Field(gt=0)]
    """Training time of each measurement."""
    rounds: Annotated[int, Field(ge=1)]
    """Measurements of each shape."""
    limit_s: Annotated[float, Field(gt=0)]
    """No round begins that would end later after the start of the program, but the first."""

    @property
    def answer(self) -> Path:
        """The file with the `CalibrationAnswer`."""
        return self.folder / "answer.json"


class CalibrationAnswer(Spec):
    """What the node has to say."""

    calibration: Calibration | None
    """Null: nothing could be measured."""
    problem: str = ""
    """Why not, and what to do."""
