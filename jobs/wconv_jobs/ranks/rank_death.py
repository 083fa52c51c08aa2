"""The end of a rank that could not report it."""

import signal

from wconv_jobs.messages import Broken


def rank_died(how: str, number: int, host: str = "") -> Broken:
    """Return the end of a rank that could not report it, e.g. "was killed (SIGKILL)".

    Args:
        how: see above.
        number: of the rank.
        host: of the rank, e.g. " on node n2"; empty where there is one node only.
    """
    return Broken(
        rank=number,
        error="RankDied",
        reason=f"rank {number}{host} {how}",
        where="rank process",
        traceback="",
    )


def how_it_ended(status: int) -> str:
    """Describe the exit status of a process, negative for a signal."""
    if status == -signal.SIGKILL:
        return "was killed (SIGKILL): by hand, or because the node's memory ran out"
    if status < 0:
        return f"was ended by {signal.Signals(-status).name}"
    return f"exited with status {status}"
