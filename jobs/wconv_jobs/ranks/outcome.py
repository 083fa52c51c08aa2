"""How a trial ended, by the messages of its ranks and nodes."""

import time

from wconv_jobs.messages import Broken, Finished, NodeEnded
from wconv_jobs.ranks.rank_death import rank_died

GRACE_S = 1.0
"""Time for a launcher, which looks ten times a second, to see a dead process, seconds."""
FAREWELL_S = 30.0
"""Time for the ranks to leave their process group after the last message, seconds."""


class Outcome:
    """How the ranks ended, as far as known.

    Args:
        ranks_save: each rank may write a checkpoint of its own, as in a program of the user's.
    """

    def __init__(self, *, ranks_save: bool = False) -> None:
        self._ranks_save = ranks_save
        self.finished: Finished | None = None
        self._broken: Broken | None = None
        self._death: Broken | None = None
        self._error: Broken | None = None
        self._lost: int | None = None
        self._end_at = float("inf")

    def note(self, message: Finished | Broken | NodeEnded) -> None:
        """Record the last message of a rank or a node; the first of each sort is the cause."""
        if isinstance(message, Finished):
            self.finished = message
            # Where rank 0 has written the checkpoint, its peers may still evaluate.
            done = message.ending == "stopped" and not self._ranks_save
            self._end_within(GRACE_S if done else FAREWELL_S)
        elif isinstance(message, Broken):
            # Its peers break later, when they miss it.
            self._broken = self._broken or message
            self._end_within(GRACE_S)
        else:
            self._death = self._death or message.death
            self._error = self._error or message.error
            self.lost(message.lost)
            if message.death or message.error:
                self._end_within(GRACE_S)

    def lost(self, rank: int | None) -> None:
        """Record the first rank whose connection ended without a message, if there is one."""
        if rank is not None and self._lost is None:
            self._lost = rank
            self._end_within(GRACE_S)

    @property
    def wants_end(self) -> bool:
        """Whether the remaining ranks should be ended."""
        return time.monotonic() > self._end_at

    def decide(self) -> Finished | Broken:
        """Return how the trial ended, after all ranks have."""
        if self.finished is not None:
            # Every rank took part in all of it; a later failure came at the exit.
            return self.finished
        # A rank that raises an exception reports it and then waits for the agent to hang up. So a
        # rank that ended by itself did so without a message, and its peers report that they
        # miss it.
        if self._death is not None:
            return self._death
        if self._broken is not None and self._lost in (None, self._broken.rank):
            return self._broken
        if self._lost is not None:
            return rank_died("ended without a word", self._lost)
        return self._broken or self._error or rank_died("ended without a result", 0)

    def _end_within(self, seconds: float) -> None:
        self._end_at = min(self._end_at, time.monotonic() + seconds)
