"""How long ranks may live on after one of them has said how the trial ended."""

import time
from typing import Any

import pytest

from wconv_jobs.messages import Finished
from wconv_jobs.ranks.outcome import FAREWELL_S, GRACE_S, Outcome


@pytest.mark.parametrize(
    ("ranks_save", "ending", "given_s"),
    [
        (False, "stopped", GRACE_S),
        (False, "complete", FAREWELL_S),
        # Rank 1 of a program may write a larger part of the checkpoint than rank 0.
        (True, "stopped", FAREWELL_S),
        (True, "complete", FAREWELL_S),
    ],
)
def test_peers_have_the_time_to_save_where_each_writes_its_own_checkpoint(
    monkeypatch: pytest.MonkeyPatch, ranks_save: bool, ending: Any, given_s: float
) -> None:
    now_s = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now_s[0])
    seen = Outcome(ranks_save=ranks_save)

    seen.note(Finished(ending=ending, epoch=2, metrics={}, provenance={}))
    now_s[0] += given_s - 0.1
    before = seen.wants_end
    now_s[0] += 0.2

    assert (before, seen.wants_end) == (False, True)
