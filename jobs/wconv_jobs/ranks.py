"""Trains one trial on fresh processes, the ranks, and finds out how it ended."""

import time
from collections.abc import Callable
from pathlib import Path

from wconv_jobs.channel import Broken, Demand, Finished, Report, Verdict
from wconv_jobs.launcher import Launcher, rank_died
from wconv_jobs.placement import Placement
from wconv_jobs.rank_server import RankServer
from wconv_jobs.spec import TrialSpec

TICK_S = 1.0
"""Longest time between two calls of `on_tick`, seconds."""
GRACE_S = 1.0
"""Time for the launcher, which looks ten times a second, to see a dead process, seconds."""
FAREWELL_S = 30.0
"""Time for the ranks to leave their process group after the last message, seconds."""


class RanksAborted(Exception):
    """`on_tick` asked for the end; what the ranks did since the last checkpoint is lost."""


def run_ranks(
    spec: TrialSpec,
    *,
    placement: Placement,
    log_folder: Path,
    on_report: Callable[[Report], Verdict],
    on_tick: Callable[[], Demand],
) -> Finished | Broken:
    """Train one trial on `ranks` fresh processes of this machine and return how it ended.

    The processes come from a fork server that has torch loaded: the first trial of an agent pays
    the import, later ones start in 0.35 s instead of 3 s. torch's elastic launcher watches them,
    with a rendezvous at a free port of the loopback interface. Callbacks run in the calling
    thread. No rank is left when the function returns or raises. Call it from the main thread.

    Args:
        spec: what to train.
        ranks: number of processes; with CUDA, one GPU each.
        log_folder: gets what each rank prints.
        on_report: answers a report of rank 0.
        on_tick: called at least every `TICK_S`; False ends all ranks at once.

    Raises:
        RanksAborted: `on_tick` returned False.
        Exception: whatever a callback raises.
    """
    log_folder.mkdir(parents=True, exist_ok=True)
    with RankServer() as server, Launcher(spec, placement.ranks, log_folder, server) as launcher:
        outcome = _Outcome()
        while True:
            # Asked before reading: the last words of ranks that have ended are then in reach.
            ended = launcher.ended
            for message in server.messages(0 if ended else TICK_S):
                if isinstance(message, Report):
                    server.answer(on_report(message))
                else:
                    outcome.note(message)
            if ended:
                return outcome.decide(launcher, server)
            # A finished trial is finished, also when the agent has run out of time.
            if on_tick() is Demand.ABORT and outcome.finished is None:
                raise RanksAborted
            if outcome.wants_end(server):
                server.hang_up()


class _Outcome:
    """What the ranks have said about their end."""

    def __init__(self) -> None:
        self.finished: Finished | None = None
        self._broken: Broken | None = None
        self._end_at = float("inf")

    def note(self, message: Finished | Broken) -> None:
        """Take in a rank's last message."""
        if isinstance(message, Finished):
            self.finished = message
            self._end_within(FAREWELL_S)
        elif self._broken is None:
            # The first is the cause; its peers break later, when they miss it.
            self._broken = message

    def wants_end(self, server: RankServer) -> bool:
        """Tell whether the ranks still there should be ended."""
        if self._broken is not None or server.lost is not None:
            self._end_within(GRACE_S)
        return time.monotonic() > self._end_at

    def decide(self, launcher: Launcher, server: RankServer) -> Finished | Broken:
        """Return how the trial ended, after all ranks have."""
        if self.finished is not None:
            # Every rank took part in all of it; what broke later broke on the way out.
            return self.finished
        # A rank that raises an exception tells it and then waits for the agent to hang up. So a
        # rank that ended by itself did so without a word, and what its peers say is that they
        # miss it.
        if launcher.silent_death is not None:
            return launcher.silent_death
        if self._broken is not None and server.lost in (None, self._broken.rank):
            return self._broken
        if server.lost is not None:
            return rank_died("ended without a word", server.lost)
        return self._broken or launcher.error or rank_died("ended without a result", 0)

    def _end_within(self, seconds: float) -> None:
        self._end_at = min(self._end_at, time.monotonic() + seconds)
