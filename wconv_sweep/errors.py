"""The errors that a user can act on.

WconvSweepError                 exit status 1
    ConfigurationError          2: a study file, a cluster profile or an option is wrong
    StorageError                2: the database cannot be opened or is not one of ours
        StorageAway             2: it cannot be reached just now; agents try again
    StudyError                  2: the study asked for does not exist, or is another one
    SlurmError                  2: SLURM is not here, does not answer, or refuses
        SlurmAway               2: it does not answer just now: nothing is known
    SweepFailed                 1: the study ended without a result

Everything else is a bug and keeps its traceback.
"""

from collections.abc import Sequence


class WconvSweepError(Exception):
    """Root of the errors that the command line prints as plain lines."""

    exit_status = 1


class ConfigurationError(WconvSweepError):
    """The request cannot be done as written; one line per problem."""

    exit_status = 2

    def __init__(self, problems: str | Sequence[str]) -> None:
        self.problems = (problems,) if isinstance(problems, str) else tuple(problems)
        super().__init__("\n".join(self.problems))


class StorageError(WconvSweepError):
    """The storage cannot be opened or used."""

    exit_status = 2


class StorageAway(StorageError):
    """The storage cannot be reached at the moment: a retry may succeed later.

    If its COMMIT was not answered, it is unknown whether the transaction took place.
    """


class StudyError(WconvSweepError):
    """The storage holds no such study, or a different one under this name."""

    exit_status = 2


class SlurmError(WconvSweepError):
    """A command of SLURM cannot be run, gave no answer or failed; the message holds its words."""

    exit_status = 2


class SlurmAway(SlurmError):
    """SLURM does not answer: it is unknown even whether the request was carried out."""


class SweepFailed(WconvSweepError):
    """The study stopped without a result; the message says why."""
