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
from wconv_sweep.calibration.shapes import Machine, shapes
from wconv_sweep.calibration.side_by_side import OneTrial, train_side_by_side
from wconv_sweep.evidence.calibration_record import (
    Calibration,
    LeftOut,
    MeasuredShape,
    Round,
    Shape,
)
from wconv_sweep.launching.machine import free_memory_mb, usable_cores

Measure = Callable[[Shape], "list[OneTrial] | Broken"]


@dataclass(frozen=True)
class Rounds:
    """All shapes in each round, in an order of its own: a busy machine hits all of them alike."""

    measured: dict[Shape, list[list[OneTrial]]]
    """The trials of each shape, by round."""
    left_out: list[LeftOut]


def measure_rounds(
    wanted: Sequence[Shape], measure: Measure, *, rounds: int, limit_s: float
) -> Rounds:
    """Measure each shape once in each round.

    Args:
        wanted: the shapes. One that breaks is left out from then on.
        measure: returns the trials of a shape, or how one of them broke.
        rounds: number of rounds.
        limit_s: time after which no other round is begun, if it would take as long as the last.
    """
    begun_s = time.monotonic()
    measured: dict[Shape, list[list[OneTrial]]] = {shape: [] for shape in wanted}
    left_out: list[LeftOut] = []
    drawn = random.Random(0)
    for number in range(rounds):
        round_s = time.monotonic()
        for shape in drawn.sample(list(measured), len(measured)):
            print(f"round {number + 1} of {rounds}: {shape}", file=sys.stderr, flush=True)
            found = measure(shape)
            if isinstance(found, Broken):
                del measured[shape]
                left_out.append(_broken(shape, found))
            else:
                measured[shape].append(found)
        now_s = time.monotonic()
        if now_s - begun_s + (now_s - round_s) > limit_s:
            break
    return Rounds(measured, left_out)


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
    wanted, left_out = shapes(order.config, machine, order.ranks)
    found = measure_rounds(
        wanted,
        lambda shape: train_side_by_side(order, shape),
        rounds=order.rounds,
        limit_s=order.limit_s,
    )
    left_out = sorted([*left_out, *found.left_out], key=lambda each: each.ranks)
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
        )
    )


def _none(reasons: str) -> str:
    return f"no shape of a trial could be measured ({reasons}). Correct the study, or use --ranks."


def _broken(shape: Shape, broken: Broken) -> LeftOut:
    lines = broken.reason.strip().splitlines() or [broken.error]
    return LeftOut(
        ranks=shape.ranks,
        memory_format=shape.memory_format,
        amp=shape.amp,
        reason=f"{shape.lanes} at once: {lines[0]}" if shape.lanes > 1 else lines[0],
    )


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
