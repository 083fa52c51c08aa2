"""A study's trials in Optuna's in-memory storage, where its samplers and pruners do their work.

Optuna's own client reads a study of 10,000 trials with 20 epochs each in 9 to 14 s, and writes
outside of our transactions. The mirror is filled from the slot table in a fraction of a second;
what a sampler or pruner writes is collected, for the caller to record it together with the change
of the slot. `tests/benchmarks/sampling.py` measures both.
"""

import json
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import optuna
from optuna.pruners import BasePruner, NopPruner
from optuna.samplers import BaseSampler, RandomSampler
from optuna.storages import InMemoryStorage
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import select

from wconv_sweep import trial_rows
from wconv_sweep.search_space import distributions_of
from wconv_sweep.storage import Storage
from wconv_sweep.study_config import StudyConfig
from wconv_sweep.tables import SEARCHING, SLOTS, SlotState

_STATES = {
    SlotState.OPEN: TrialState.RUNNING,  # interrupted: its trial goes on
    SlotState.LEASED: TrialState.RUNNING,
    SlotState.COMPLETE: TrialState.COMPLETE,
    SlotState.PRUNED: TrialState.PRUNED,
    SlotState.FAILED: TrialState.FAIL,
}


class _Collecting(InMemoryStorage):
    """Collects what samplers and pruners write, for it counts only once it is recorded."""

    def __init__(self) -> None:
        super().__init__()
        self.written: dict[str, Any] = {}

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        self.written[key] = value

    def read_attribute(self, trial_id: int, key: str, value: Any) -> None:
        """Take over what is recorded."""
        super().set_trial_system_attr(trial_id, key, value)


class TrialMirror:
    """What an agent knows of the trials of one study; it should live as long as the agent."""

    def __init__(self, storage: Storage, config: StudyConfig) -> None:
        self._storage = storage
        self._config = config
        pruning = config.search.pruner.name != "none"
        self._with_epochs = pruning
        self._with_attributes = pruning or config.search.sampler.name == "cmaes"
        self._forget()

    def refresh(self) -> None:
        """Read what has changed since the last time."""
        with self._storage.read() as connection:
            # What confirms a density must not look like more evidence for it.
            chosen = (
                SLOTS.c.study == self._config.study,
                SLOTS.c.trial >= self._first_running,
                SLOTS.c.stage.in_(SEARCHING),
            )
            rows = connection.execute(
                select(
                    SLOTS.c.trial,
                    SLOTS.c.trial_id,
                    SLOTS.c.state,
                    SLOTS.c.density,
                    SLOTS.c.value,
                )
                .where(*chosen)
                .order_by(SLOTS.c.trial)
            ).all()
            ids = select(SLOTS.c.trial_id).where(*chosen)
            epochs: Mapping[int, Mapping[int, float]] = defaultdict(dict)
            if self._with_epochs:
                epochs = trial_rows.intermediate_values(connection, ids)
            attributes: Mapping[int, Mapping[str, Any]] = defaultdict(dict)
            if self._with_attributes:
                attributes = trial_rows.system_attributes(connection, ids)
        for row in rows:
            if row.trial not in self._ids:
                self._ids[row.trial] = self._optuna.create_new_trial(self._study_id)
            if not self._trial(row.trial).state.is_finished():
                density = tuple(json.loads(row.density)) if row.density else None
                self._update(row.trial, density, epochs[row.trial_id], attributes[row.trial_id])
                state = _STATES[SlotState(row.state)]
                if state.is_finished():
                    values = None if state is TrialState.FAIL else [row.value]
                    self._optuna.set_trial_state_values(self._ids[row.trial], state, values)
                    self.completed += state is TrialState.COMPLETE
        while self._first_running in self._ids and (
            self._trial(self._first_running).state.is_finished()
        ):
            self._first_running += 1

    def trial(self, number: int) -> FrozenTrial:
        """Return a trial of the study, which is running."""
        if self._trial(number).state.is_finished():
            # It had failed when it was read, and was brought back since.
            self._forget()
            self.refresh()
        return self._trial(number)

    def study(
        self, sampler: BaseSampler | None = None, pruner: BasePruner | None = None
    ) -> optuna.Study:
        """Return the study as Optuna knows it, for one question to a sampler or pruner.

        A study object of its own per question: Optuna keeps the trials it has read in the object
        until its own `ask` is called.
        """
        self._optuna.written = {}
        return optuna.load_study(
            study_name=self._config.study,
            storage=self._optuna,
            sampler=sampler or RandomSampler(seed=0),
            pruner=pruner or NopPruner(),
        )

    @property
    def written(self) -> Mapping[str, Any]:
        """System attributes that the last question made Optuna write to its trial."""
        return self._optuna.written

    def _update(
        self,
        number: int,
        density: tuple[float, ...] | None,
        epochs: Mapping[int, float],
        attributes: Mapping[str, Any],
    ) -> None:
        key, known = self._ids[number], self._trial(number)
        if density is not None and not known.params:
            self.densities.add(density)
            coefficients = zip(distributions_of(self._config).items(), density, strict=True)
            for (name, distribution), value in coefficients:
                self._optuna.set_trial_param(key, name, value, distribution)
        for epoch in epochs.keys() - known.intermediate_values.keys():
            self._optuna.set_trial_intermediate_value(key, epoch, epochs[epoch])
        for name in attributes.keys() - known.system_attrs.keys():
            self._optuna.read_attribute(key, name, attributes[name])

    def _trial(self, number: int) -> FrozenTrial:
        return self._optuna.get_trial(self._ids[number])

    def _forget(self) -> None:
        self._optuna = _Collecting()
        directions = [optuna.study.StudyDirection[self._config.direction.upper()]]
        # Optuna would tell on stderr that it created a study.
        verbosity = optuna.logging.get_verbosity()
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._study_id = self._optuna.create_new_study(directions, self._config.study)
        optuna.logging.set_verbosity(verbosity)
        self._ids: dict[int, int] = {}
        self._first_running = 0
        self.densities: set[tuple[float, ...]] = set()
        """Those of all trials, running or ended."""
        self.completed = 0
        """Number of completed trials."""
