"""A cluster profile: the facts of the machine that a study runs on."""

from typing import Annotated, Literal, Self

from pydantic import Field, FiniteFloat, model_validator

from wconv_jobs.spec import Spec
from wconv_sweep import resources
from wconv_sweep.search_config import Name
from wconv_sweep.yaml_files import read_document, validate


class ClusterProfile(Spec):
    """Facts of one site; the science is in the study file."""

    schema_: Literal[1] = Field(alias="schema")
    """Version of this file format."""
    cluster: Name
    launcher: Literal["local"]
    """`local` starts pilots as processes of this machine."""
    pilots: Annotated[int, Field(ge=1)]
    """Pilots that work on a study at the same time."""
    gpus_per_pilot: Annotated[int, Field(ge=0)]
    """GPUs of each pilot, which shares them with no other; 0 trains on the CPU."""
    walltime_min: Annotated[int, Field(ge=1)]
    """Time limit of a pilot, minutes; trials checkpoint and stop before it."""
    storage: Annotated[str, Field(min_length=1)] | None = None
    """URL of the database, without a password, where neither `--storage` nor a variable names
    one; null: `sweep.db` in the folder of all runs. Commands that take no profile need it as
    `--storage`."""
    lease_s: Annotated[FiniteFloat, Field(gt=0)] = 60.0
    """Silence after which an agent's slot is given to another, seconds."""
    grace_s: Annotated[FiniteFloat, Field(ge=0)] = 120.0
    """Time that a trial gets to reach its next checkpoint when it is asked to stop, seconds; the
    last part of the walltime is kept free for it."""

    @model_validator(mode="after")
    def _grace_fits_into_the_walltime(self) -> Self:
        if self.grace_s >= 60 * self.walltime_min:
            raise ValueError(
                f"grace_s ({self.grace_s:g} s) leaves nothing of walltime_min "
                f"({self.walltime_min} min) to train in"
            )
        return self


def load_profile(wanted: str) -> ClusterProfile:
    """Return a profile by shipped name or by the path of a file.

    Raises:
        ConfigurationError: it does not exist or is wrong; every problem is named.
    """
    path, name = resources.find("wconv_slurm_templates", "cluster", wanted)
    return validate(read_document(path, name), ClusterProfile)
