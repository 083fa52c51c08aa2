"""Measures on a node: `python -m wconv_sweep.calibration.node_run ORDER.json`."""

import random
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from wconv_jobs.files.atomic import replace_file
from wconv_jobs.messages import Broken
from wconv_jobs.ranks.gpu_check import gpu_count
from wconv_sweep.calibration.order import CalibrationAnswer, CalibrationOrder
from wconv_sweep.calibration.shapes import Choice, Machine, shapes
from wconv_sweep.calibration.side_by_side import OneTrial, train_side_by_side
from wconv_sweep.evidence.calibration_record import (
    Calibration,
    LeftOut,
    MeasuredShape,
    Round,
    Shape,
)
from wconv_sweep.pilots.machine import free_memory_mb, usable_cores

Measure = Callable[[Shape], "list[OneTrial] | Broken"]


@dataclass(frozen=True)
class Rounds:
    """All shapes in each round, in an order of its own: a busy machine hits all of them alike."""

    measured: dict[Shape, list[list[OneTrial]]]
    """The trials of each shape, by round."""
    left_out: list[LeftOut]

    def leave_out(self, shape: Shape, reason: str) -> None:
        """Forget what was measured of a shape, and say why."""
        del self.measured[shape]
        self.left_out.append(
            LeftOut(
                ranks=shape.ranks,
                memory_format=shape.memory_format,
                amp=shape.amp,
                reason=": ".join([*_further(shape), reason]),
            )
        )


def measure_rounds(
    wanted: Sequence[Shape], measure: Measure, *, rounds: int, limit_s: float
) -> Rounds:
    """Measure each shape once in each round.

    One measurement is thrown away before: processes start more slowly while torch is loaded, and
    data come from the disk.

    Args:
        wanted: the shapes. One that breaks is left out from then on.
        measure: returns the trials of a shape, or how one of them broke.
        rounds: number of rounds.
        limit_s: no other round is begun that would end later, if it took as long as the last; in
            the first one, what would begin later is left out, but for one shape.
    """
    begun_s = time.monotonic()
    found = Rounds({shape: [] for shape in wanted}, [])
    drawn = random.Random(0)
    for shape in wanted[:1]:
        _say("warm-up", shape)
        measure(shape)
    for number in range(rounds):
        round_s = time.monotonic()
        for shape in drawn.sample(list(found.measured), len(found.measured)):
            late = number == 0 and time.monotonic() - begun_s > limit_s
            if late and any(found.measured.values()):
                found.leave_out(shape, "no time was left for it; see --time and --ranks")
                continue
            _say(f"round {number + 1} of {rounds}", shape)
            trials = measure(shape)
            if isinstance(trials, Broken):
                found.leave_out(shape, _first_line(trials))
            else:
                found.measured[shape].append(trials)
        now_s = time.monotonic()
        if now_s - begun_s + (now_s - round_s) > limit_s:
            break
    return found


def calibrate_node(order: CalibrationOrder) -> CalibrationAnswer:
    """Measure what this node can run."""
    there = gpu_count()
    if there < order.gpus:
        return CalibrationAnswer(
            calibration=None,
            problem=f"torch finds {there} of {order.gpus} GPUs on the node. "
            "Try `wconv-sweep doctor --job`, which says more.",
        )
    machine = Machine(
        gpus=order.gpus,
        cores=min(usable_cores(), order.cpus or usable_cores()),
        memory_mb=free_memory_mb(),
    )
    choice = shapes(order.config, machine, order.ranks, compiled=order.compile, every=order.every)
    return measured(order, machine, choice)


def measured(order: CalibrationOrder, machine: Machine, choice: Choice) -> CalibrationAnswer:
    """Measure shapes on this node.

    Args:
        order: to this node.
        machine: what it has.
        choice: the shapes.
    """
    found = measure_rounds(
        choice.wanted,
        lambda shape: train_side_by_side(order, shape),
        rounds=order.rounds,
        limit_s=order.limit_s,
    )
    left_out = sorted([*choice.left_out, *found.left_out], key=lambda each: each.ranks)
    if not found.measured:
        reasons = dict.fromkeys(f"{each.ranks} ranks: {each.reason}" for each in left_out)
        return CalibrationAnswer(calibration=None, problem=_none("; ".join(reasons)))
    one = next(iter(found.measured.values()))[0][0]
    return CalibrationAnswer(
        calibration=Calibration(
            host=one.provenance["host"],
            device=one.provenance["device"],
            torch=one.provenance["torch"],
            gpus=machine.gpus,
            cores=machine.cores,
            steps_per_epoch=int(one.speed.steps_per_epoch),
            measured=[
                MeasuredShape(
                    shape=shape,
                    rounds=[_round(trials) for trials in each],
                    rank_memory_bytes=max(
                        trial.speed.rank_memory_bytes for trials in each for trial in trials
                    ),
                )
                for shape, each in found.measured.items()
            ],
            left_out=left_out,
            untried=choice.untried,
        )
    )


def _none(reasons: str) -> str:
    return f"no shape of a trial could be measured ({reasons}). Correct the study, or use --ranks."


def _further(shape: Shape) -> list[str]:
    """Return what else a shape is, in words, where it is not as usual."""
    words = []
    if shape.lanes > 1:
        words.append(f"{shape.lanes} at once")
    if shape.per_gpu > 1:
        words.append(f"{shape.per_gpu} on each GPU")
    if shape.compile:
        words.append(f"compile {str(shape.compile).lower()}")
    if shape.optimizer:
        words.append(f"optimizer {shape.optimizer}")
    return [", ".join(words)] if words else []


def _say(what: str, shape: Shape) -> None:
    print(f"{what}: {shape}", file=sys.stderr, flush=True)


def _first_line(broken: Broken) -> str:
    return (broken.reason.strip().splitlines() or [broken.error])[0]


def _round(trials: Sequence[OneTrial]) -> Round:
    """Return the means over trials that were measured side by side."""
    return Round(
        steps_per_s=statistics.fmean(each.speed.steps / each.speed.training_s for each in trials),
        validation_s=statistics.fmean(each.speed.validation_s for each in trials),
        start_s=statistics.fmean(each.start_s for each in trials),
    )


def main() -> None:
    """Write the answer atomically."""
    order = CalibrationOrder.model_validate_json(Path(sys.argv[1]).read_text("utf-8"))
    replace_file(order.answer, calibrate_node(order).model_dump_json())


if __name__ == "__main__":
    main()
