"""Whether an exported network has the score that its trial has recorded."""

import math
from collections.abc import Mapping

from wconv_sweep.errors import SweepFailed
from wconv_sweep.evidence.results import TrialRow
from wconv_sweep.evidence.study_status import StudyStatus

TOLERANCE = 1e-3
"""Relative difference to the recorded score: another device rounds differently."""


def check_reproduced(status: StudyStatus, row: TrialRow, reproduced: Mapping[str, float]) -> None:
    """Check the objective's metric of the test set.

    Args:
        status: of the study.
        row: the trial.
        reproduced: the metrics of its network, computed again.

    Raises:
        SweepFailed: it differs, or was not computed again.
    """
    name = f"test_{status.config.objective.metric}"
    recorded = row.metrics.get(name)
    if recorded is None:
        return
    if name not in reproduced:
        raise SweepFailed(
            f"study {status.study}: trial {row.trial} had a {name} of {recorded:.6g}, which was "
            f"not computed again, only {', '.join(reproduced)}. Nothing was written: let "
            "trainer.weights.score return it."
        )
    if not math.isclose(reproduced[name], recorded, rel_tol=TOLERANCE):
        raise SweepFailed(
            f"study {status.study}: the exported network has a {name} of {reproduced[name]:.6g}, "
            f"but trial {row.trial} had {recorded:.6g}. Nothing was written: the data or the "
            "program differ from those of the study."
        )
