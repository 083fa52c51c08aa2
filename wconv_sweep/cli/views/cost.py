"""Words for what a study will cost, for `studies show` and `--dry-run`."""

import shlex
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from wconv_sweep.amounts import with_settings
from wconv_sweep.clusters.billing import Cost
from wconv_sweep.evidence.expected_cost import ExpectedCost, StageCost
from wconv_sweep.study.config import TrialShape
from wconv_sweep.study.cost_range import CostRange, PointCosts
from wconv_sweep.study.point import Settings


def expected_text(
    expected: ExpectedCost,
    trial: TrialShape,
    bill: Cost | None = None,
    costs: CostRange | None = None,
) -> str:
    """Return what a study is expected to cost, and what that was measured on.

    Args:
        expected: the cost.
        trial: the shape of each.
        bill: of the nodes that hold the trials, where a site bills.
        costs: of the trials, where they differ.
    """
    on_gpus = "a GPU for each rank"
    if trial.per_gpu > 1:
        on_gpus = f"a GPU for {trial.per_gpu} of them"
    each = on_gpus if expected.unit == "GPU-hours" else "a core for each thread"
    parts = [f"about {expected.hours:,.2f} {expected.unit} of trials, {each}"]
    if expected.stages:
        parts[0] += f": {', '.join(map(_stage, expected.stages))}"
    if costs is not None:
        parts.append(_between(expected, costs))
    if bill is not None:
        parts.append(billed_text(bill))
    return f"{'; '.join(parts)}; {_measured(expected)}"


def unknown_text(study: Sequence[str], cluster: str, *, on_gpus: bool) -> str:
    """Return that nothing was measured, with the command that does.

    Args:
        study: the options that name it.
        cluster: as it is given to `--cluster`.
        on_gpus: whether the cap of a study counts its hours.
    """
    words = ["wconv-sweep", "launch", "--cluster", cluster, *study]
    if on_gpus:
        command = shlex.join([*words, "--max-gpu-hours", "1"])
        how = f"`{command}` measures it, and a launch with a larger cap goes on from there"
    else:
        how = f"`{shlex.join(words)}` measures it with its first epoch"
    calibrate = shlex.join(["wconv-sweep", "calibrate", "--cluster", cluster, *study])
    return (
        f"not known, as no such trial has run with this storage; `{calibrate}` times some steps; "
        f"{how}"
    )


def billed_text(cost: Cost) -> str:
    """Return what the site bills."""
    if cost.billed is None:
        return "what the site bills for them is unknown"
    return f"the site bills {cost.billed:,.1f} {cost.unit}"


def expected_json(
    expected: ExpectedCost | None, bill: Cost | None = None, costs: CostRange | None = None
) -> Any:
    """Return the same as plain data; null: nothing was measured."""
    if expected is None:
        return None
    return asdict(expected) | {
        "hours": expected.hours,
        "hours_between": None if costs is None else _between_h(expected, costs),
        "bill": None if bill is None else asdict(bill),
    }


def range_rows(costs: CostRange | None, *, on_gpus: bool = True) -> dict[str, str]:
    """Return the cheapest and the dearest trials of a search; none where all cost the same.

    Args:
        costs: of the trials.
        on_gpus: whether their memory is that of GPUs.
    """
    if costs is None:
        return {}
    return {
        "cheapest trials": _point(costs.cheapest_at, costs.cheapest, on_gpus=on_gpus),
        "dearest trials": _point(costs.dearest_at, costs.dearest, on_gpus=on_gpus),
    }


def range_json(costs: CostRange | None) -> Any:
    """Return the same as plain data; null where all cost the same."""
    if costs is None:
        return None
    return {
        "cheapest": asdict(costs.cheapest) | {"settings": dict(costs.cheapest_at)},
        "dearest": asdict(costs.dearest) | {"settings": dict(costs.dearest_at)},
    }


def large(number: int) -> str:
    """Return a number of operations."""
    if number < 1e6:
        return f"{number:,}"
    return f"{number / 1e9:.2f} G" if number >= 1e9 else f"{number / 1e6:.1f} M"


def memory(number: int) -> str:
    """Return a number of bytes."""
    return f"{number / 2**30:.1f} GiB" if number >= 2**30 else f"{number / 2**20:.0f} MiB"


def _point(settings: Settings, costs: PointCosts, *, on_gpus: bool) -> str:
    return (
        f"{with_settings(settings).removeprefix(', ')}: {costs.parameters:,} parameters, "
        f"{large(costs.macs)} MACs a sample, {costs.operations:.3g} times the operations of the "
        f"study's own values"
        + (f", about {memory(costs.memory_bytes)} per GPU" if on_gpus else "")
    )


def _between_h(expected: ExpectedCost, costs: CostRange) -> tuple[float, float]:
    return expected.between_h(costs.cheapest.operations, costs.dearest.operations)


def _between(expected: ExpectedCost, costs: CostRange) -> str:
    low, high = _between_h(expected, costs)
    how = (
        "if all were like the cheapest or the dearest of these"
        if expected.has_seen_the_range
        else "at the cheapest and the dearest values, if time goes with the operations"
    )
    return f"{low:,.2f} to {high:,.2f} {how}"


def _stage(cost: StageCost) -> str:
    spread = f" ({cost.lowest_h:.3g} to {cost.highest_h:.3g})"
    shown = spread if cost.lowest_h < cost.highest_h else ""
    return f"{cost.left:.3g} {cost.stage} x {cost.trial_h:.3g}{shown}"


def _measured(expected: ExpectedCost) -> str:
    found = expected.calibrated
    if found is not None:
        return (
            f"from steps that `wconv-sweep calibrate` has timed on {found.device}, cluster "
            f"{found.cluster}, {found.measured_at[:10]}; tests come on top"
        )
    studies = ", ".join(expected.studies[:3])
    more = f" and {len(expected.studies) - 3} more" if len(expected.studies) > 3 else ""
    where = f" on {expected.device}" if expected.device else ", which have not ended"
    others = f", {expected.others} on other kinds left out" if expected.others else ""
    return f"measured on {expected.measured} trial(s) of {studies}{more}{where}{others}"
