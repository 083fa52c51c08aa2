"""The errors of a training run.

JobError (ValueError)    what was ordered cannot be trained: a name, an option, a file, a shape
CheckpointError          the checkpoint cannot be used; the trial can be trained from the start
TrainingDiverged         the loss or a metric is not finite; a repetition would end the same way
"""

from typing import Literal

CheckpointFault = Literal["unusable", "another version", "another trial"]
"""Whether a file is missing or damaged, or a good one of another program or another trial."""


class JobError(ValueError):
    """The trial cannot be trained as ordered; the message says what, where, and what to do."""


class CheckpointError(Exception):
    """A trial's checkpoint cannot be used; without it the trial is trained from the start."""

    def __init__(self, message: str, why: CheckpointFault = "unusable") -> None:
        """
        Args:
            message: the file and its problem.
            why: the kind of problem, for a caller that knows a remedy.
        """
        super().__init__(message)
        self.why = why


class TrainingDiverged(ArithmeticError):
    """The loss or a metric is not finite; the message says which, and after which epoch."""
