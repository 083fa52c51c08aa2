"""Which shapes of a trial are measured on a node, and which it cannot run."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import get_args

from wconv_jobs.recipe.optimizer import Implementation
from wconv_jobs.spec import Compile, MemoryFormat
from wconv_sweep.evidence.calibration_record import Amp, LeftOut, Shape
from wconv_sweep.launching.machine import RANK_MB
from wconv_sweep.study.config import StudyConfig

RANKS = (1, 2, 4)
"""Tried unless the user names others; those of the study as well."""


@dataclass(frozen=True, kw_only=True)
class Machine:
    """What a node has for trials."""

    gpus: int
    """0: they are trained on its CPU cores."""
    cores: int
    memory_mb: int
    """Free, MiB."""


def shapes(
    config: StudyConfig, machine: Machine, ranks: Sequence[int] = (), *, compiled: bool = False
) -> tuple[list[Shape], list[LeftOut]]:
    """Return the shapes to measure, and those that are left out with the reason.

    On GPUs, each rank has one of its own, and as many trials run side by side as that allows. On
    CPU cores, a trial is measured alone, and with as many others as there are cores for. Other
    ways to take a step are tried with the first number of ranks, all trials side by side.

    Args:
        config: of the study.
        machine: the node.
        ranks: numbers of ranks to try; none: `RANKS`, and that of the study.
        compiled: whether compiled steps are among those ways.
    """
    wanted: list[Shape] = []
    left_out: list[LeftOut] = []
    numbers = sorted(set(ranks or (*RANKS, config.trial.ranks)))
    several = config.trial.ranks if config.trial.ranks in numbers else numbers[0]
    for number in numbers:
        reason = _why_not(config, machine, number)
        if reason is not None:
            left_out.append(LeftOut(ranks=number, reason=reason))
            continue
        if config.recipe.dtype == "float64":
            reason = "autocast needs recipe.dtype: float32"
            left_out.append(LeftOut(ranks=number, amp="bfloat16", reason=reason))
        wanted += [
            Shape(
                ranks=number,
                memory_format=memory_format,
                amp=amp,
                lanes=lanes,
                compile=compile_,
                optimizer=implementation,
            )
            for lanes in _lanes(config, machine, number)
            for compile_, implementation in (
                _ways(config, machine, compiled=compiled)
                if (number, lanes) == (several, most_lanes(config, machine, number))
                else [(config.recipe.compile, config.recipe.optimizer.implementation)]
            )
            for memory_format in get_args(MemoryFormat)
            for amp in get_args(Amp)
            if amp == "none" or config.recipe.dtype == "float32"
        ]
    return wanted, left_out


def _ways(
    config: StudyConfig, machine: Machine, *, compiled: bool
) -> list[tuple[Compile, Implementation | None]]:
    """Return ways to take a step, that of the study first.

    CPUs gain nothing from another implementation of the optimizer, and have no CUDA graphs.
    """
    recipe = config.recipe
    compilations: list[Compile] = [recipe.compile]
    if compiled:
        compilations += [False, True, *(["reduce-overhead"] if machine.gpus else [])]  # type: ignore[list-item]
    implementations: list[Implementation | None] = [recipe.optimizer.implementation]
    if machine.gpus:
        implementations.append("fused")
    return list(dict.fromkeys(itertools.product(compilations, implementations)))


def most_lanes(config: StudyConfig, machine: Machine, ranks: int) -> int:
    """Return how many trials of so many ranks fit side by side, at least 1."""
    if machine.gpus:
        return max(1, machine.gpus // ranks)
    by_cores = machine.cores // (ranks * config.trial.threads_per_rank)
    return max(1, min(by_cores, machine.memory_mb // (ranks * RANK_MB)))


def _lanes(config: StudyConfig, machine: Machine, ranks: int) -> list[int]:
    most = most_lanes(config, machine, ranks)
    return [most] if machine.gpus else sorted({1, most})


def _why_not(config: StudyConfig, machine: Machine, ranks: int) -> str | None:
    threads, batch_size = config.trial.threads_per_rank, config.recipe.batch_size
    if machine.gpus and ranks > machine.gpus:
        return f"takes {ranks} GPUs of {machine.gpus}"
    if not machine.gpus and ranks * threads > machine.cores:
        return f"takes {ranks * threads} cores of {machine.cores}"
    if batch_size % ranks:
        return f"recipe.batch_size {batch_size} cannot be shared evenly"
    return None
