"""Shows a calibration: the table, the cost of the study, and the lines for its file."""

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any, get_args

from rich.console import Console
from rich.table import Table

from wconv_sweep.calibration.calibrate import Calibrated
from wconv_sweep.calibration.comparison import Ratio, Row, StudyCost
from wconv_sweep.clusters.profile import LocalProfile
from wconv_sweep.evidence.calibration_record import Amp, LeftOut, Shape, shape_of

_PRECISION: dict[Amp, str] = {"none": "", "bfloat16": "bfloat16"}


def print_calibrated(out: Console, found: Calibrated) -> None:
    """Print the table, and what follows from it."""
    out.print(_table(found))
    for line in _lines(found):
        out.print(line, markup=False, soft_wrap=True)


def calibrated_json(found: Calibrated) -> dict[str, Any]:
    """Return all of it as plain data."""
    comparison = found.comparison
    return {
        "study": found.config.study,
        "cluster": found.profile.cluster,
        "record": str(found.record),
        "host": found.found.host,
        "device": found.found.device,
        "base": _row_json(found, comparison.base),
        "rows": [_row_json(found, row) for row in comparison.rows],
        "left_out": [each.model_dump(mode="json") for each in found.found.left_out],
        "untried": found.found.untried,
        "best": {
            amp: best.shape.model_dump(mode="json")
            for amp in get_args(Amp)
            if (best := comparison.best(amp)) is not None
        },
    }


def study_lines(shape: Shape) -> list[str]:
    """Return the lines of a study file that give its trials this shape."""
    recipe: dict[str, str] = {"memory_format": shape.memory_format, "amp": shape.amp}
    if shape.compile:
        recipe["compile"] = _compile(shape)
    if shape.optimizer is not None:
        recipe["optimizer"] = f"{{implementation: {shape.optimizer}}}"
    keys = ", ".join(f"{key}: {value}" for key, value in recipe.items())
    shared = f", per_gpu: {shape.per_gpu}" if shape.per_gpu > 1 else ""
    return [f"trial: {{ranks: {shape.ranks}{shared}}}", f"recipe: {{{keys}}}"]


def _table(found: Calibrated) -> Table:
    node = found.found
    where = f"{node.gpus} x {node.device}" if node.gpus else f"{node.cores} cores of {node.device}"
    table = Table(
        box=None,
        pad_edge=False,
        title=f"{found.config.study} on {node.host}: {where}, torch {node.torch}",
        title_justify="left",
    )
    table.add_column("ranks", justify="right")
    for name in ("memory format", "autocast", "compile", "optimizer"):
        table.add_column(name)
    for name in ("at once", "steps/s", "trials/h", "ratio", "memory/rank"):
        table.add_column(name, justify="right")
    table.add_column("")
    base = found.comparison.base
    for row in found.comparison.rows:
        table.add_row(
            str(row.shape.ranks),
            row.shape.memory_format,
            _PRECISION[row.shape.amp],
            _compile(row.shape) if row.shape.compile else "",
            row.shape.optimizer or "",
            _at_once(row.shape),
            _number(row.steps_per_s),
            _number(row.trials_per_h),
            "1" if row is base else _ratio(row.ratio),
            f"{row.rank_memory_bytes / 2**20:.0f} MiB",
            "all are held against this" if row is base else "",
        )
    for left_out in node.left_out:
        table.add_row(*_left_out(left_out))
    return table


def _left_out(each: LeftOut) -> list[str]:
    named = [str(each.ranks), each.memory_format or "any", each.amp or "any"]
    return [*named, *["-"] * 7, f"left out: {each.reason}"]


def _at_once(shape: Shape) -> str:
    return f"{shape.lanes}, {shape.per_gpu} per GPU" if shape.per_gpu > 1 else str(shape.lanes)


def _compile(shape: Shape) -> str:
    return str(shape.compile).lower()


def _ratio(ratio: Ratio) -> str:
    return f"{ratio.median:.2f} [{ratio.lowest:.2f}, {ratio.highest:.2f}]"


def _lines(found: Calibrated) -> Iterator[str]:
    config, comparison, base = found.config, found.comparison, found.comparison.base
    rounds = len(found.found.measured[0].rounds)
    yield ""
    yield (
        "steps/s of one trial, with the others at once; trials/h of all at once, validation and "
        f"start included, the test left out; ratio of trials/h, median [lowest, highest] of "
        f"{rounds} round{'s' if rounds > 1 else ''} in which all took turns."
    )
    if found.found.untried:
        yield (
            "One thing was changed at a time, or order in memory and precision together: "
            f"{found.found.untried} further combinations were left out. --all measures them, too."
        )
    if shape_of(config, base.shape.lanes) != base.shape:
        yield "The study's own shape was not measured; see above why."
    yield f"As it is, {_cost(found, base)}."
    own = base.shape.amp
    other: Amp = "none" if own == "bfloat16" else "bfloat16"
    best, equal = comparison.best(other), comparison.best(own)
    yield from _advice(found, equal, "At equal results up to rounding")
    if best and equal and best.ratio.lowest > 1 and best.ratio.median > equal.ratio.median:
        what = "With" if other == "bfloat16" else "Without"
        yield from _advice(found, best, f"{what} bfloat16 autocast, which changes results")
    yield f"Kept for `studies show` and `launch --dry-run`: {found.record}"


def _advice(found: Calibrated, best: Row | None, when: str) -> Iterator[str]:
    if best is None:
        return
    if best is found.comparison.base:
        yield f"{when}, no other shape was faster in every round."
        return
    yield f"{when}, {best.ratio.median:.2f} x the trials per hour; {_cost(found, best)}:"
    yield from (f"  {line}" for line in study_lines(best.shape))
    if best.shape.lanes != found.comparison.base.shape.lanes and not found.found.gpus:
        yield from _lanes_line(found, best.shape)


def _lanes_line(found: Calibrated, shape: Shape) -> Iterator[str]:
    """Yield what to set where pilots would train another number of trials at once."""
    if isinstance(found.profile, LocalProfile):
        yield f"  in the cluster profile: lanes: {shape.lanes}, pilots: 1"
    else:
        yield f"  on a node: {shape.lanes} at once, by cpus_per_node of the cluster profile"


def _cost(found: Calibrated, row: Row) -> str:
    cost = found.cost(row)
    trials = found.config.budget.trials
    return f"{trials} trials of {_duration(row.trial_s)} each take {_hours(cost)}"


def _hours(cost: StudyCost) -> str:
    parts = [
        f"{_number(cost.node_hours)} hours of this node",
        f"{_number(cost.hours)} {cost.unit}",
    ]
    if cost.billed is not None:
        parts.append(f"the site bills {_number(cost.billed)} {cost.billed_unit}")
    return ", ".join(parts)


def _number(value: float) -> str:
    """Return three digits, but all of those before the point."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{_number(seconds)} s"
    minutes = seconds / 60
    return f"{_number(minutes)} min" if minutes < 120 else f"{_number(minutes / 60)} h"


def _row_json(found: Calibrated, row: Row) -> dict[str, Any]:
    return {
        **row.shape.model_dump(mode="json"),
        "steps_per_s": row.steps_per_s,
        "trial_s": row.trial_s,
        "trials_per_h": row.trials_per_h,
        "ratio": asdict(row.ratio),
        "rank_memory_bytes": row.rank_memory_bytes,
        "study_cost": asdict(found.cost(row)),
    }
