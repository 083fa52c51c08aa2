"""Why a program of the user's broke, as it printed it or by its exit status."""

import re
import signal

from wconv_jobs.messages import Broken
from wconv_jobs.ranks.rank_death import how_it_ended, rank_died

LAST_BYTES = 65536
"""How much of the output is looked at."""

_NOT_PASSED_ON = (
    ": PYTHONPATH, or what it names, is not in the container of trainer.python. Let that pass on "
    "the environment, and show it /tmp and the folder of the runs."
)
_PREFIX = re.compile(r"^\[rank\d+\]: ?", re.MULTILINE)
"""torch puts it before a traceback where a process group is in use."""
_TRACEBACK = "Traceback (most recent call last):"
_FRAME = re.compile(r'^  File "([^"]+)", line (\d+)')
_OURS = re.compile(r"No module named '(wconv_trial|wconv_kernels)'")
_ERROR = re.compile(r"^([A-Za-z_][\w.]*)(?:: (.*))?$")


def program_broke(status: int, printed: str, rank: int) -> Broken:
    """Return the end of a program with an exit status other than 0.

    Args:
        status: negative for a signal; 128 and more where a shell or a container has passed one on.
        printed: the end of its standard error.
        rank: number of the rank.
    """
    if status < 0 or status - 128 in signal.valid_signals():
        return rank_died(how_it_ended(status if status < 0 else 128 - status), rank)
    text = _PREFIX.sub("", printed)
    _, found, trace = text.rpartition(_TRACEBACK)
    if found:
        failure = _raised(trace.lstrip("\n"), rank)
        if failure is not None:
            return failure
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    said = f": {lines[-1]}" if lines else ""
    return Broken(
        rank=rank,
        error="ProgramFailed",
        reason=f"the program of rank {rank} {how_it_ended(status)}{said}",
        where="program",
        traceback="",
    )


def _raised(trace: str, rank: int) -> Broken | None:
    """Return the exception of a traceback, whose frames are indented."""
    lines, where = trace.splitlines(), "unknown"
    for number, line in enumerate(lines):
        if frame := _FRAME.match(line):
            where = f"{frame.group(1).rpartition('/')[2]}:{frame.group(2)}"
        if line.startswith(" ") or not (error := _ERROR.match(line)):
            continue
        reason = error.group(2) or error.group(1)
        if _OURS.fullmatch(reason):
            reason += _NOT_PASSED_ON
        return Broken(
            rank=rank,
            error=error.group(1).rpartition(".")[2],
            reason=reason,
            where=where,
            traceback="\n".join([_TRACEBACK, *lines[: number + 1]]) + "\n",
        )
    return None
