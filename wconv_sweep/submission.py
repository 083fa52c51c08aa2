"""Starts the pilots of a study with the launcher that the cluster's profile names."""

from typing import Protocol

from wconv_sweep.cluster_profile import ClusterProfile
from wconv_sweep.local_pilots import start_local
from wconv_sweep.run_folder import RunFolder
from wconv_sweep.slurm_pilots import SlurmPlan, start_slurm
from wconv_sweep.storage import Storage


class Pilots(Protocol):
    """The pilots of a study, those that this command has started among them."""

    @property
    def started(self) -> int:
        """How many this command has started."""

    @property
    def goes_on(self) -> bool:
        """Whether the study goes on without the command that follows it."""

    def all_ended(self) -> bool:
        """Tell whether none of them waits or is at work any more."""

    def logs(self) -> list[str]:
        """Return the files that they log to."""
