"""The errors of a training run.

JobError (ValueError)    what was ordered cannot be trained: a name, an option, a file, a shape
CheckpointError          the checkpoint cannot be used; the trial can be trained from the start
TrainingDiverged         the loss or a metric is not finite; a repetition would end the same way
"""


class JobError(ValueError):
    """What was ordered cannot be trained; the message says what, where, and what to do."""


class CheckpointError(Exception):
    """A trial's checkpoint cannot be used; without it the trial is trained from the start."""


class TrainingDiverged(ArithmeticError):
    """The loss or a metric is not finite; the message says which, and after which epoch."""
