"""A refused submission is told with its remedy: by the word of its limit where it has one."""

import pytest

from wconv_sweep.errors import SlurmError
from wconv_sweep.slurm.commands import refusal
from wconv_sweep.slurm.refusals import too_many, with_remedy

# As SLURM 22.05.8, 24.11.5 and 26.05.5 say it, the same for all limits.
_TEXT = (
    "Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)",
    "allocation failure: ",
    "sbatch: error: Batch job submission failed: ",
)


def refused(word: str, before: str) -> SlurmError:
    return refusal("sbatch", 1, f"sbatch: error: {word}\n{before}{_TEXT[0]}\n")


@pytest.mark.parametrize("before", _TEXT[1:])
@pytest.mark.parametrize(
    ("word", "remedy", "is_the_number"),
    [
        ("QOSMaxWallDurationPerJobLimit", "Lower --time or walltime_min in the profile", False),
        ("QOSMaxGRESPerUser", "Lower --nodes or gpus_used_per_node in the profile", False),
        ("QOSMaxGRESPerJob", "Lower --nodes or gpus_used_per_node in the profile", False),
        ("QOSMaxNodePerJobLimit", "Lower --nodes, or choose another --qos", False),
        ("QOSMinNode", "Raise --nodes, or choose another --qos", False),
        ("AssocGrpGRESMinutes", "Lower --time, choose another --account, or ask", False),
        ("QOSMaxSubmitJobPerUserLimit", "Lower --pilots or pilots in the profile, or wait", True),
        ("AssocMaxSubmitJobLimit", "Lower --pilots or pilots in the profile, or wait", True),
        ("AssocGrpSubmitJobsLimit", "Lower --pilots or pilots in the profile, or wait", True),
        ("MaxSubmitJobsPerAccount", "Lower --pilots or pilots in the profile, or wait", True),
    ],
)
def test_only_a_limit_of_jobs_is_taken_for_too_many_jobs(
    word: str, before: str, remedy: str, is_the_number: bool
) -> None:
    error = refused(word, before)

    assert f"limits). {remedy}" in str(with_remedy(error))
    assert too_many(error) is is_the_number
    assert too_many(with_remedy(error)) is is_the_number


def test_without_a_word_any_limit_may_have_refused() -> None:
    error = refusal("sbatch", 1, f"{_TEXT[2]}{_TEXT[0]}")

    assert "Ask for less with --nodes, --time or --pilots" in str(with_remedy(error))
    assert too_many(error)
