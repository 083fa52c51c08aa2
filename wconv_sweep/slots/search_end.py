"""Ends a search before its budget, once little can be gained: `search.stop_when`.

What may still be gained is the upper end of what some density may reach, less what the best
expected one is expected to reach. Below the standard error of a confirmed mean no confirmation
would see it. A peak so narrow that no trial has met it is not expected, and not seen.
"""

import math

from sqlalchemy import select, update

from wconv_sweep.evidence.candidates import surrogate_of
from wconv_sweep.evidence.results import TrialRow
from wconv_sweep.evidence.study_status import read_status
from wconv_sweep.slots.leases import study_row
from wconv_sweep.storage.open_storage import Storage
from wconv_sweep.storage.tables import SEARCHING, SLOTS, SlotState, Stage
from wconv_sweep.study.config import StudyConfig
from wconv_sweep.study.point import SearchArm


class SearchEnd:
    """The rule of one study, asked by a worker before it leases."""

    def __init__(self, storage: Storage, config: StudyConfig) -> None:
        self._storage = storage
        self._config = config
        self._rule = config.search.stop_when
        self._asked_at = 0

    def end_if_due(self) -> None:
        """End the slots that have no proposed point yet, if the rule says so.

        Running and interrupted trials are trained to their end.
        """
        if self._rule is None:
            return
        completed = self._completed()
        if completed < max(self._rule.minimum, self._asked_at + 1):
            return
        # Fitting takes a while: once for each number of completed trials, and in no transaction.
        self._asked_at = completed
        trials = read_status(self._storage, self._config.study).trials
        if not is_due(trials, self._config):
            return
        unproposed = (
            SLOTS.c.study == self._config.study,
            SLOTS.c.stage == Stage.SEARCH,
            SLOTS.c.state.in_((SlotState.OPEN, SlotState.CLOSED)),
            SLOTS.c.point.is_(None),
        )
        reason = (
            f"the search ended: for {self._rule.in_a_row} trials, no density could be better "
            "than the best expected one by more than a confirmation can resolve"
        )
        with self._storage.write() as connection:
            study_row(connection, self._config.study, lock=True)
            connection.execute(
                update(SLOTS).where(*unproposed).values(state=SlotState.SKIPPED, reason=reason)
            )

    def _completed(self) -> int:
        with self._storage.read() as connection:
            of_search = (SLOTS.c.study == self._config.study, SLOTS.c.stage.in_(SEARCHING))
            rows = connection.scalars(
                select(SLOTS.c.slot).where(*of_search, SLOTS.c.state == SlotState.COMPLETE)
            )
            return len(rows.all())


def is_due(trials: list[TrialRow], config: StudyConfig) -> bool:
    """Return whether the rule of a study is met by its completed trials, in their order."""
    rule = config.search.stop_when
    assert rule is not None
    done = [row for row in trials if row.stage in SEARCHING and row.state is SlotState.COMPLETE]
    done.sort(key=lambda row: row.trial or 0)
    if len(done) < rule.minimum:
        return False
    arms = tuple(SearchArm) if config.has_two_arms else (None,)
    return all(
        _little_is_left(done[: len(done) - left_out], config, arm)
        for left_out in range(rule.in_a_row)
        for arm in arms
    )


def _little_is_left(done: list[TrialRow], config: StudyConfig, arm: SearchArm | None) -> bool:
    surrogate = surrogate_of(done, config, arm)
    if surrogate is None:
        return False
    seeds = config.confirm.seeds if config.confirm else 1
    return surrogate.largest_gain() < surrogate.noise_sd / math.sqrt(seeds)
