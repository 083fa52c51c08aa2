"""Words for what a study will cost, for `studies show` and `--dry-run`."""

import shlex
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from wconv_sweep.clusters.billing import Cost
from wconv_sweep.evidence.expected_cost import ExpectedCost, StageCost
from wconv_sweep.study.config import TrialShape


def expected_text(expected: ExpectedCost, trial: TrialShape, bill: Cost | None = None) -> str:
    """Return what a study is expected to cost, and what that was measured on.

    Args:
        expected: the cost.
        trial: the shape of each.
        bill: of the nodes that hold the trials, where a site bills.
    """
    on_gpus = "a GPU for each rank"
    if trial.per_gpu > 1:
        on_gpus = f"a GPU for {trial.per_gpu} of them"
    each = on_gpus if expected.unit == "GPU-hours" else "a core for each thread"
    parts = [f"about {expected.hours:,.2f} {expected.unit} of trials, {each}"]
    if expected.stages:
        parts[0] += f": {', '.join(map(_stage, expected.stages))}"
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


def expected_json(expected: ExpectedCost | None, bill: Cost | None = None) -> Any:
    """Return the same as plain data; null: nothing was measured."""
    if expected is None:
        return None
    return asdict(expected) | {
        "hours": expected.hours,
        "bill": None if bill is None else asdict(bill),
    }


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
