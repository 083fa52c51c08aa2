"""A study's trials in Optuna's in-memory storage, for its samplers and pruners.

A source of trials, an agent with the slot table (`wconv_sweep.search.trial_mirror`) or a
simulation (`wconv_sweep.simulation.synthetic_trials`), provides them; samplers and pruners see no
difference. Their attributes are collected, and count only once they are recorded.
"""

import copy
import math
import statistics
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.pruners import BasePruner, NopPruner
from optuna.samplers import BaseSampler, RandomSampler
from optuna.storages import InMemoryStorage
from optuna.trial import FrozenTrial, TrialState

from wconv_sweep.study.config import StudyConfig
from wconv_sweep.study.point import Point, SearchArm
from wconv_sweep.study.search_space import holds, params_of, point_at, space_of


class _Collecting(InMemoryStorage):
    """Collects the attributes that samplers and pruners write, which count only once recorded."""

    def __init__(self) -> None:
        super().__init__()
        self.written: dict[str, Any] = {}

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        self.written[key] = value

    def set_study_system_attr(self, study_id: int, key: str, value: Any) -> None:
        """Keep nothing for the next query: another agent would not have it."""

    def read_attribute(self, trial_id: int, key: str, value: Any) -> None:
        """Take over the recorded attributes."""
        super().set_trial_system_attr(trial_id, key, value)


class KnownTrials:
    """The known trials of one study, or of one arm of its search."""

    def __init__(self, config: StudyConfig, arm: SearchArm | None = None) -> None:
        self._config = config
        self.arm = arm
        self.space = space_of(config, arm)
        """The parameters that are proposed."""
        self.forget()

    def refresh(self) -> None:
        """Read new trials; does nothing if trials are pushed."""

    def tell(
        self,
        number: int,
        point: Point | None = None,
        state: TrialState = TrialState.RUNNING,
        value: float | None = None,
        epochs: Mapping[int, float] | None = None,
        attributes: Mapping[str, Any] | None = None,
    ) -> None:
        """Add what is known of a trial, unless it is known to have ended.

        Args:
            number: of the trial.
            point: that it trains; None: not proposed yet.
            state: RUNNING, or how it ended.
            value: the objective of a trial that ended and did not fail.
            epochs: the objective after each epoch.
            attributes: what samplers and pruners have noted on it, as recorded.
        """
        if number not in self._ids:
            self._ids[number] = self._optuna.create_new_trial(self._study_id)
        key, known = self._ids[number], self._trial(number)
        if known.state.is_finished():
            return
        if point is not None and not known.params:
            self.points.add(point)
            params = params_of(self._config, point)
            space: Mapping[str, BaseDistribution] = self.space
            for name, distribution in space.items():
                internal = distribution.to_internal_repr(params[name])
                self._optuna.set_trial_param(key, name, internal, distribution)
        for epoch in (epochs or {}).keys() - known.intermediate_values.keys():
            self._optuna.set_trial_intermediate_value(key, epoch, (epochs or {})[epoch])
        for name in (attributes or {}).keys() - known.system_attrs.keys():
            self._optuna.read_attribute(key, name, (attributes or {})[name])
        if state.is_finished():
            values = None if state is TrialState.FAIL or value is None else [value]
            self._optuna.set_trial_state_values(key, state, values)
            self.completed += state is TrialState.COMPLETE

    def trial(self, number: int) -> FrozenTrial:
        """Return a trial of the study, which is running."""
        if self._trial(number).state.is_finished():
            # It had failed when it was read, and was reopened since.
            self.forget()
            self.refresh()
        return self._trial(number)

    def has_ended(self, number: int) -> bool:
        """Return whether a trial is known to have ended."""
        return number in self._ids and self._trial(number).state.is_finished()

    def undecided_before(self, number: int) -> int:
        """Return the number of running trials before this one without a point."""
        return sum(
            not trial.params and not trial.state.is_finished()
            for trial in (self._trial(each) for each in self._ids if each < number)
        )

    def outcomes(self) -> dict[Point, float | None]:
        """Return the mean value of each point.

        None: it is being trained. NaN: no training of it was completed, or its value is not
        defined.
        """
        values: dict[Point, list[float]] = defaultdict(list)
        running: set[Point] = set()
        for trial in self._optuna.get_all_trials(self._study_id, deepcopy=False):
            if not trial.params:
                continue
            point = point_at(self._config, trial.params)
            found = values[point]
            if trial.state is TrialState.COMPLETE and trial.values is not None:
                found += [value for value in trial.values if math.isfinite(value)]
            elif not trial.state.is_finished():
                running.add(point)
        return {
            point: statistics.fmean(found) if found else (None if point in running else math.nan)
            for point, found in values.items()
        }

    def study(
        self,
        sampler: BaseSampler | None = None,
        pruner: BasePruner | None = None,
        *,
        inside: bool = False,
    ) -> optuna.Study:
        """Return the study as Optuna knows it, for one query of a sampler or pruner.

        A study object of its own per question: Optuna keeps the trials it has read in the object
        until its own `ask` is called.

        Args:
            sampler: that is asked.
            pruner: that is asked.
            inside: leave out points outside of the bounds, as reference densities may be.
        """
        self._optuna.written = {}
        return optuna.load_study(
            study_name=self._config.study,
            storage=self._inside() if inside else self._optuna,
            sampler=sampler or RandomSampler(seed=0),
            pruner=pruner or NopPruner(),
        )

    @property
    def written(self) -> Mapping[str, Any]:
        """System attributes that Optuna wrote to its trial at the last query."""
        return self._optuna.written

    def forget(self) -> None:
        """Forget all trials."""
        self._optuna, self._study_id = _new_storage(self._config)
        self._ids: dict[int, int] = {}
        self.points: set[Point] = set()
        """Those of all trials, running or ended."""
        self.completed = 0
        """Number of completed trials."""

    def _inside(self) -> _Collecting:
        """Return the trials within the bounds, without their epochs."""
        trials = self._optuna.get_all_trials(self._study_id, deepcopy=False)
        inside = [trial for trial in trials if self._is_inside(trial)]
        if len(inside) == len(trials):
            return self._optuna
        found, study_id = _new_storage(self._config)
        for trial in inside:
            without = copy.copy(trial)  # the storage copies whatever is in it
            without.intermediate_values = {}
            found.create_new_trial(study_id, template_trial=without)
        return found

    def _is_inside(self, trial: FrozenTrial) -> bool:
        # One that has no point yet has none outside.
        return all(holds(self.space[name], value) for name, value in trial.params.items())

    def _trial(self, number: int) -> FrozenTrial:
        return self._optuna.get_trial(self._ids[number])


def _new_storage(config: StudyConfig) -> tuple[_Collecting, int]:
    """Return a storage that holds the study without trials, and the study's number."""
    storage = _Collecting()
    directions = [optuna.study.StudyDirection[config.direction.upper()]]
    # Optuna would tell on stderr that it created a study.
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study_id = storage.create_new_study(directions, config.study)
    optuna.logging.set_verbosity(verbosity)
    return storage, study_id
