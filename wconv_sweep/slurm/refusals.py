"""Adds a remedy to a refused submission: SLURM's messages name no option and no key."""

from wconv_sweep.errors import SlurmAway, SlurmError
from wconv_sweep.slurm.limit_words import limit_in

_NO_ARRAY = "job array"
_NO_SUCH_NODE = "node configuration"
_SOME_LIMIT = (
    "Ask for less with --nodes, --time or --pilots, choose another --qos, or wait until jobs of "
    "yours have ended"
)
# Messages of sbatch, SLURM 22.05, and their remedies. The first match counts.
_REMEDIES = (
    (
        # Also by sbatch itself, which does not know an option or its value.
        (
            *("unrecognized", "an argument", "Invalid --", "Invalid numeric"),
            *("preferred feature", "reservation", "license", "node name"),
        ),
        "Change sbatch in the profile, or --sbatch",
    ),
    (
        ("invalid account", "Invalid account"),
        "Choose a project of yours with --account, WCONV_SWEEP_ACCOUNT or account in the profile",
    ),
    (
        ("invalid partition", "Invalid partition"),
        "Choose another with --partition or partition.default in the profile",
    ),
    (
        ("Invalid qos", "invalid qos"),
        "Choose one that your account may use with --qos or qos.default in the profile",
    ),
    (
        # The text of every refusal by a limit; here it comes without the word of the limit.
        ("job submit limit",),
        _SOME_LIMIT,
    ),
    (
        ("time limit", "TimeLimit"),
        "Lower --time or walltime_min in the profile",
    ),
    (
        ("Node count",),
        "Lower --nodes or nodes in the profile",
    ),
    (
        ("Invalid feature",),
        "Change constraint in the profile",
    ),
    (
        ("generic resource", "gres"),
        "Change gpu_flag, gpu_type or gpus_used_per_node in the profile",
    ),
    (
        ("Memory specification",),
        "Lower mem_per_gpu_mb in the profile",
    ),
    (
        (_NO_SUCH_NODE, "More processors", "CPU count"),
        "Lower --nodes, or gpus_used_per_node, cpus_per_gpu or mem_per_gpu_mb in the profile, to "
        "what the partition has",
    ),
    (
        (_NO_ARRAY,),
        "Lower max_array_size in the profile, to 0 where the site takes no job arrays",
    ),
    (
        ("wckey",),
        "Change wckey in the profile",
    ),
)
# Limits that fewer or later jobs may satisfy.
_TOO_MANY = ("job submit limit", _NO_ARRAY, "MaxJobCount")


def with_remedy(error: SlurmError) -> SlurmError:
    """Return the refusal of a submission with its remedy."""
    if isinstance(error, SlurmAway):
        return error
    words = str(error)
    limit = limit_in(words)
    if limit is not None:
        remedy = limit.remedy()
        found: str | None = remedy[0].upper() + remedy[1:]
    else:
        found = next((text for parts, text in _REMEDIES if any(p in words for p in parts)), None)
        if found is None and "limit" in words:
            found = _SOME_LIMIT
    return SlurmError(f"{words.rstrip('.')}. {found}.") if found else error


def too_many(error: SlurmError) -> bool:
    """Return whether the site refuses the number of jobs rather than the jobs."""
    limit = limit_in(str(error))
    if limit is not None:
        return limit.counts_jobs
    return any(part in str(error) for part in _TOO_MANY)


def no_array(error: SlurmError) -> bool:
    """Return whether the site refuses a job array, for its size or because it takes none."""
    return _NO_ARRAY in str(error)


def no_such_node(error: SlurmError) -> bool:
    """Return whether no node, of those that are up, has what a job asks for."""
    return _NO_SUCH_NODE in str(error)
