"""Shows what a launch would do: `--dry-run`."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Console

from wconv_sweep.amounts import counted
from wconv_sweep.cli.views.cost import (
    billed_text,
    expected_json,
    expected_text,
    range_json,
    range_rows,
    unknown_text,
)
from wconv_sweep.clusters.billing import Cost
from wconv_sweep.evidence.expected_cost import ExpectedCost
from wconv_sweep.launching.plan import Plan
from wconv_sweep.launching.preview import Preview
from wconv_sweep.pilots.machine import RANK_MB
from wconv_sweep.study.config import StudyConfig
from wconv_sweep.study.cost_range import CostRange
from wconv_sweep.study.definition_text import (
    bounds_text,
    reference_densities_text,
    searched_text,
    training_rows,
)


def print_plan(
    out: Console,
    plan: Plan,
    changes: Sequence[str],
    expected: ExpectedCost | None,
    costs: CostRange | None,
) -> None:
    """Print what a launch would do, on a SLURM cluster with the exact batch script.

    Args:
        out: the terminal.
        plan: of the launch.
        changes: what has changed since the study was started.
        expected: the cost of what is left of the study; None: nothing was measured.
        costs: of the trials, where they differ.
    """
    preview = plan.preview()
    rows = _rows(plan, preview, costs)
    rows["expected"] = _expected(plan, expected, costs)
    if changes:
        rows["changed"] = f"{'; '.join(changes)}. Launch with --accept-changes."
    for name, value in rows.items():
        out.print(f"{name + ':':<21} {value}".rstrip(), markup=False, soft_wrap=True)
    if preview.script is not None:
        out.print("\nbatch script:\n")
        out.print(preview.script, markup=False, soft_wrap=True)
    out.print("Nothing was written or started (--dry-run).")


def plan_json(
    plan: Plan,
    changes: Sequence[str],
    expected: ExpectedCost | None,
    costs: CostRange | None,
) -> dict[str, Any]:
    """Return what a launch would do as plain data."""
    preview = plan.preview()
    return {
        "config": plan.config.plain(),
        "profile": plan.profile.model_dump(mode="json", by_alias=True),
        "storage": plan.storage_url.render_as_string(hide_password=True),
        "run_folder": str(plan.folder.path),
        "pilot": preview.command,
        "pilots": preview.pilots,
        "trials_at_once": preview.at_once,
        "threads_per_rank": preview.threads_per_rank,
        "batch_script": preview.script,
        "cost": None if preview.cost is None else asdict(preview.cost),
        "cost_range": range_json(costs),
        "expected_cost": expected_json(expected, _bill(plan, expected), costs),
        "ablation_trials": plan.ablation_trials,
        "gpu_hours_cap": plan.config.budget.gpu_hours,
        "problems": list(plan.problems),
        "warnings": list(plan.warnings),
        "changes": list(changes),
    }


def _rows(plan: Plan, preview: Preview, costs: CostRange | None) -> dict[str, str]:
    config = plan.config
    pruner = config.search.pruner.name
    pruned = "" if pruner == "none" else f", pruner {pruner}"
    shared = f", {config.trial.per_gpu} trials on each GPU" if config.trial.per_gpu > 1 else ""
    rows = {
        "study": config.study,
        **{name: text for name, text in training_rows(config).items() if name != "recipe"},
        "density": f"kernel size {config.kernel_size}, coefficients in {bounds_text(config)}, "
        f"sampler {config.search.sampler.name}{pruned}",
        **({"searched with it": searched_text(config)} if config.search.also else {}),
        **range_rows(costs, on_gpus=plan.launcher.on_gpus),
        "reference densities": reference_densities_text(config),
        "budget": f"{config.budget.trials} trials of {config.recipe.epochs} epochs, "
        f"{config.trial.ranks} {'rank' if config.trial.ranks == 1 else 'ranks'} each{shared}",
        "confirmation": _confirm(config),
        **_ablation(plan),
        "cluster": f"{plan.profile.cluster}: {preview.summary}",
        **_at_once(plan, preview),
        "storage": plan.storage_url.render_as_string(hide_password=True),
        "run folder": str(plan.folder.path),
        "pilot": preview.command,
    }
    if preview.cost is not None:
        rows["at most"] = _cost(preview.cost, config.budget.gpu_hours)
    return rows


def _at_once(plan: Plan, preview: Preview) -> dict[str, str]:
    ranks = plan.config.trial.ranks
    if preview.at_once is None:
        return {}
    text = (
        f"{counted(preview.at_once, 'trial')} on each pilot, of {counted(ranks, 'rank')} with "
        f"{counted(preview.threads_per_rank or 1, 'thread')} each"
    )
    room = preview.room
    if room is not None:
        text += (
            f": {counted(room.cores, 'core')}, and free memory for "
            f"{counted(room.by_memory, 'trial')} at {RANK_MB:,} MiB a rank"
        )
    elif not plan.launcher.on_gpus and plan.profile.launcher == "slurm":
        text += f"; fewer on a node with less free memory than {RANK_MB:,} MiB a rank"
    return {"side by side": text}


def _confirm(config: StudyConfig) -> str:
    confirm = config.confirm
    if confirm is None:
        return "none"
    sides = "of each side" if config.has_two_arms else "and plain convolution"
    return (
        f"{config.confirm_trials} of these trials: {confirm.candidates} candidate(s) {sides} on "
        f"{confirm.seeds} seeds"
    )


def _ablation(plan: Plan) -> dict[str, str]:
    trials = plan.ablation_trials
    if not trials:
        return {}
    return {"ablation": f"{trials} further trials, unless the study has them already"}


def _expected(plan: Plan, expected: ExpectedCost | None, costs: CostRange | None) -> str:
    if expected is None:
        return unknown_text(plan.named, plan.cluster, on_gpus=plan.launcher.on_gpus)
    return expected_text(expected, plan.config.trial, _bill(plan, expected), costs)


def _bill(plan: Plan, expected: ExpectedCost | None) -> Cost | None:
    if expected is None:
        return None
    trial = plan.config.trial
    return plan.launcher.bill(expected.one_by_one_h(trial), trial)


def _cost(cost: Cost, cap_h: float | None) -> str:
    own_unit = cost.gpu_hours != cost.device_hours
    of_slurm = f" ({cost.device_hours:,.1f} of GPUs as SLURM counts them)" if own_unit else ""
    parts = [f"{cost.gpu_hours:,.1f} GPU-hours{of_slurm}"]
    if cost.core_hours is not None:
        parts.append(f"{cost.core_hours:,.1f} core-hours")
    counted = " as SLURM counts GPUs" if own_unit else ""
    cap = "no cap" if cap_h is None else f"the cap is {cap_h:g} GPU-hours{counted}"
    return f"{', '.join(parts)}; {billed_text(cost)}; {cap}"
