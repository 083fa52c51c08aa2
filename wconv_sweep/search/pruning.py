"""Optuna's pruners decide after an epoch whether a trial continues.

A decision is recorded in the transaction of its epoch. So a recorded epoch is
decided: a resumed trial, which repeats its last report, gets the same verdict again.
"""

import copy
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from optuna.exceptions import ExperimentalWarning
from optuna.pruners import (
    BasePruner,
    HyperbandPruner,
    MedianPruner,
    NopPruner,
    SuccessiveHalvingPruner,
    WilcoxonPruner,
)

from wconv_sweep.search.trial_mirror import TrialMirror
from wconv_sweep.slots.table import Lease
from wconv_sweep.storage.tables import Stage
from wconv_sweep.study.config import StudyConfig
from wconv_sweep.study.point import SearchArm
from wconv_sweep.study.search_config import HalvingSpec, MedianSpec, WilcoxonSpec

PRUNED_AT = "wconv_pruned_at"
"""System attribute of a trial: the epoch after which it ends."""


@dataclass(frozen=True)
class Decision:
    """Whether a trial ends after an epoch."""

    prune: bool
    attributes: Mapping[str, Any] = field(default_factory=dict)
    """System attributes of the Optuna trial, to be recorded with the epoch."""


class Pruning:
    """The study's pruner."""

    def __init__(
        self, config: StudyConfig, mirrors: Mapping[SearchArm | None, TrialMirror]
    ) -> None:
        self._config = config
        self._mirrors = mirrors

    def decide(self, lease: Lease, epoch: int, value: float) -> Decision:
        """Decide on a trial after an epoch, or return what was decided before.

        The pruner is not called for a reference density, the plain baseline included, for a trial
        of the confirmation or of an ablation, nor after the last epoch: what has been trained to
        its end is complete.

        Args:
            lease: of the trial.
            epoch: number of epochs finished, from 1.
            value: the objective after it.
        """
        unasked = self._config.search.pruner.name == "none" or lease.stage is not Stage.SEARCH
        if unasked or epoch >= self._config.recipe.epochs:
            return Decision(prune=False)
        mirror = self._mirrors[lease.arm]  # plain convolution competes with plain convolution
        mirror.refresh()
        trial = mirror.trial(lease.trial)
        if PRUNED_AT in trial.system_attrs:
            return Decision(prune=True)
        if epoch in trial.intermediate_values:
            return Decision(prune=False)
        # Not in the mirror: it is unknown yet whether the report will be recorded.
        trial = copy.copy(trial)
        trial.intermediate_values = {**trial.intermediate_values, epoch: value}
        with warnings.catch_warnings():
            # WilcoxonPruner is experimental, and warns of every epoch that the best trial, which
            # ended early, does not have.
            warnings.simplefilter("ignore", ExperimentalWarning)
            warnings.filterwarnings("ignore", message="WilcoxonPruner finds steps")
            pruner = self._pruner()
            prune = pruner.prune(mirror.study(pruner=pruner), trial)
        return Decision(prune, {**mirror.written} | ({PRUNED_AT: epoch} if prune else {}))

    def _pruner(self) -> BasePruner:
        chosen = self._config.search.pruner
        if isinstance(chosen, MedianSpec):
            return MedianPruner(
                n_startup_trials=chosen.startup_trials,
                n_warmup_steps=chosen.first_epoch,
                # Where trials end early by themselves, the median of an epoch may be that of one.
                n_min_trials=chosen.startup_trials,
            )
        if isinstance(chosen, HalvingSpec) and chosen.name == "asha":
            return SuccessiveHalvingPruner(
                min_resource=chosen.min_epochs, reduction_factor=chosen.reduction_factor
            )
        if isinstance(chosen, HalvingSpec):
            return HyperbandPruner(
                min_resource=chosen.min_epochs,
                max_resource=self._config.recipe.epochs,
                reduction_factor=chosen.reduction_factor,
            )
        if isinstance(chosen, WilcoxonSpec):
            return WilcoxonPruner(
                p_threshold=chosen.p_threshold, n_startup_steps=chosen.startup_epochs
            )
        return NopPruner()
