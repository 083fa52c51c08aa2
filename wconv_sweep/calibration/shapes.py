"""Which shapes of a trial are measured on a node, and which it cannot run."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import get_args

from wconv_jobs.recipe.optimizer import Implementation
from wconv_jobs.spec import Compile, MemoryFormat
from wconv_sweep.evidence.calibration_record import Amp, LeftOut, Shape, shape_of
from wconv_sweep.pilots.machine import room_for
from wconv_sweep.study.config import StudyConfig

RANKS = (1, 2, 4)
"""Tried unless the user names others; those of the study as well."""
PER_GPU = (1, 2, 4)
"""Trials of one rank on each GPU; that number of the study as well."""


@dataclass(frozen=True, kw_only=True)
class Machine:
    """What a node has for trials."""

    gpus: int
    """0: they are trained on its CPU cores."""
    cores: int
    memory_mb: int
    """Free, MiB."""


@dataclass(frozen=True, kw_only=True)
class Choice:
    """What to measure on a node."""

    wanted: list[Shape]
    left_out: list[LeftOut]
    """What it cannot run, with the reason."""
    untried: int
    """Shapes that it could run, too, which differ from the study's in several ways."""


def shapes(
    config: StudyConfig,
    machine: Machine,
    ranks: Sequence[int] = (),
    *,
    compiled: bool = False,
    every: bool = False,
) -> Choice:
    """Return the shapes to measure.

    On GPUs, each rank has one of its own, and as many trials run side by side as that allows;
    trials of one rank are also tried with several on each GPU. On CPU cores, a trial is measured
    alone, and with as many others as there are cores for. Other ways to take a step are tried with
    the ranks of the study, or the fewest, and as many trials as pilots would train.

    Each shape differs from the study's own in one way: ranks and trials at once, order in memory
    and precision, compiling, or the optimizer's implementation. All combinations are more than can
    be measured in some minutes.

    Args:
        config: of the study.
        machine: the node.
        ranks: numbers of ranks to try; none: `RANKS`, and that of the study.
        compiled: whether compiled steps are among those ways.
        every: whether combinations of these ways are wanted, too.
    """
    numbers = sorted(set(ranks or (*RANKS, config.trial.ranks)))
    reasons = {number: _why_not(config, machine, number) for number in numbers}
    left_out = [LeftOut(ranks=number, reason=why) for number, why in reasons.items() if why]
    able = [number for number, why in reasons.items() if why is None]
    if not able:
        return Choice(wanted=[], left_out=left_out, untried=0)
    several = config.trial.ranks if config.trial.ranks in able else able[0]
    wanted: list[Shape] = []
    for number in able:
        if config.recipe.dtype == "float64":
            reason = "autocast needs recipe.dtype: float32"
            left_out.append(LeftOut(ranks=number, amp="bfloat16", reason=reason))
        wanted += [
            Shape(
                ranks=number,
                memory_format=memory_format,
                amp=amp,
                lanes=lanes,
                per_gpu=per_gpu,
                compile=compile_,
                optimizer=implementation,
            )
            for lanes, per_gpu in _lanes(config, machine, number)
            for compile_, implementation in (
                _ways(config, machine, compiled=compiled)
                if (number, lanes, per_gpu) == (several, *_lanes(config, machine, number)[-1])
                else [(config.recipe.compile, config.recipe.optimizer.implementation)]
            )
            for memory_format in get_args(MemoryFormat)
            for amp in get_args(Amp)
            if amp == "none" or config.recipe.dtype == "float32"
        ]
    lanes, per_gpu = _lanes(config, machine, several)[-1]
    own = shape_of(config, lanes).model_copy(update={"ranks": several, "per_gpu": per_gpu})
    some = [shape for shape in wanted if every or _ways_apart(shape, own) < 2]
    return Choice(wanted=some, left_out=left_out, untried=len(wanted) - len(some))


def _ways_apart(one: Shape, other: Shape) -> int:
    """Return in how many ways shapes differ."""
    ways = [
        {"ranks", "lanes", "per_gpu"},
        {"memory_format", "amp"},
        {"compile"},
        {"optimizer"},
    ]
    return sum(one.model_dump(include=way) != other.model_dump(include=way) for way in ways)


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


def _lanes(config: StudyConfig, machine: Machine, ranks: int) -> list[tuple[int, int]]:
    """Return how many trials of so many ranks to train side by side, and how many on each GPU.

    Last those of the study, as pilots train them.
    """
    own = config.trial.per_gpu
    if machine.gpus:
        several = (*(each for each in PER_GPU if each != own), own) if ranks == 1 else (1,)
        return [(machine.gpus // ranks * per_gpu, per_gpu) for per_gpu in several]
    room = room_for(ranks, config.trial.threads_per_rank, machine.cores, machine.memory_mb)
    return [(lanes, own if ranks == 1 else 1) for lanes in sorted({1, room.lanes})]


def _why_not(config: StudyConfig, machine: Machine, ranks: int) -> str | None:
    threads, batch_size = config.trial.threads_per_rank, config.recipe.batch_size
    if machine.gpus and ranks > machine.gpus:
        return f"takes {ranks} GPUs of {machine.gpus}"
    if not machine.gpus and ranks * threads > machine.cores:
        return f"takes {ranks * threads} cores of {machine.cores}"
    if batch_size % ranks:
        return f"recipe.batch_size {batch_size} cannot be shared evenly"
    return None
