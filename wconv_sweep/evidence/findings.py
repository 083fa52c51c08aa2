"""The findings of a study, as plain data for `export` and scripts."""

from collections.abc import Mapping, Sequence
from typing import Any

from wconv_sweep.evidence.candidates import arm_of, surrogate_of
from wconv_sweep.evidence.confirmation import Arm, Confirmation, noise_of_baseline
from wconv_sweep.evidence.overview import StudyOverview
from wconv_sweep.evidence.score_rows import ScoreDifference, ScoreRow, score_rows
from wconv_sweep.evidence.statistics import Interval
from wconv_sweep.evidence.study_status import StudyStatus


def confirmation_json(confirmation: Confirmation, *, bootstrap: bool) -> dict[str, Any]:
    """Return the results of fresh seeds: all scores, and their differences to plain.

    Args:
        confirmation: of a study.
        bootstrap: also give the intervals by resampling, which take a second.
    """
    return {
        "complete": confirmation.complete,
        "claim": confirmation.claim,
        "metric": confirmation.metric,
        "seeds": {
            "study_seed": confirmation.config.seed,
            "indices": sorted(confirmation.plain.runs),
        },
        "plain": _arm(confirmation, confirmation.plain, bootstrap),
        **_further_plains(confirmation, bootstrap),
        "candidates": [
            {"selected": arm is confirmation.selected} | _arm(confirmation, arm, bootstrap)
            for arm in confirmation.candidates
        ],
        "ablation": [_arm(confirmation, arm, bootstrap) for arm in confirmation.ablations],
    }


def _further_plains(confirmation: Confirmation, bootstrap: bool) -> dict[str, Any]:
    """Return the candidates of plain convolution that were not selected, where it had several."""
    further = [arm for arm in confirmation.plains if arm is not confirmation.plain]
    return (
        {"plain_candidates": [_arm(confirmation, arm, bootstrap) for arm in further]}
        if further
        else {}
    )


def surrogate_json(status: StudyStatus) -> dict[str, Any] | None:
    """Return the surrogate's findings from all trials; None before one has completed.

    Of a search of two arms, that of weighted convolution. Its noise stands beside the spread of
    the plain baseline over its seeds, which is larger where
    the trials of the search share one seed.
    """
    from wconv_sweep.evidence.coordinates import Coordinates

    arm = arm_of(status.config)
    surrogate = surrogate_of(status.trials, status.config, arm)
    if surrogate is None:
        return None
    place = surrogate.best_point()
    (mean,), (sd,) = surrogate.mean_sd([place])
    baseline = noise_of_baseline(status.trials, status.config.objective.metric)
    return {
        **Coordinates(status.config, arm).point(place).plain(),
        "expected": float(mean),
        "sd": float(sd),
        "noise_sd": surrogate.noise_sd,
        "baseline_sd": baseline.sd if baseline else None,
        "baseline_seeds": baseline.seeds if baseline else 0,
        "trials": surrogate.trials,
        "collapsed": surrogate.collapsed,
    }


def pruning_json(study: StudyOverview) -> dict[str, int] | None:
    """Return the epochs that pruning saved, and those without it; None without pruning."""
    trained, saved = study.epochs, study.epochs_saved
    return (
        {"epochs": trained, "epochs_without": trained + saved, "saved": saved} if saved else None
    )


def moved_text(study: StudyOverview) -> str | None:
    """Return how many proposals of the sampler were moved, in words; None if none were."""
    made, moved = study.proposals.made, study.proposals.moved
    return f"{moved} of {made} proposed densities were taken, and moved" if moved else None


def started_again_text(study: StudyOverview) -> str | None:
    """Return how many trials started again from step 1, in words; None if none did."""
    number = study.started_again
    return (
        f"{number} interrupted trial(s) started again from step 1: the program does not go on "
        "from a checkpoint in trial.folder"
        if number
        else None
    )


def finished_elsewhere_text(study: StudyOverview) -> str | None:
    """Return how many programs finished at another step than the study says, in words; None if
    none did."""
    number = study.finished_elsewhere
    return (
        f"{number} complete trial(s) finished at another step than {study.config.recipe.epochs}, "
        "as trainer.reports has it: does the program stop early by itself?"
        if number
        else None
    )


def score_row(arm: Mapping[str, Any], metric: str, own_unit: str | None = None) -> ScoreRow:
    """Return a score of a network in `confirmation_json` as a row.

    Args:
        arm: the network.
        metric: the score.
        own_unit: that the study gives the metric.
    """
    scores = arm["metrics"][metric]
    found = scores.get("difference")
    difference = found and ScoreDifference(
        **{key: found[key] for key in _KEPT},
        interval=_pair(found["interval"]),
        bootstrap=_pair(found.get("bootstrap_interval")),
    )
    return ScoreRow(
        metric=metric,
        own_unit=own_unit,
        label=arm["label"],
        is_selected=arm.get("selected", False),
        density=tuple(arm["density"]),
        settings=tuple(arm.get("settings", {}).items()),
        failed=arm["failed"],
        **{key: scores[key] for key in ("seeds", "mean", "sd")},
        difference=difference,
    )


_KEPT = ("mean", "sd", "seeds", "level", "verdict")
"""What a difference has under the same names as plain data."""


def _arm(confirmation: Confirmation, arm: Arm, bootstrap: bool) -> dict[str, Any]:
    rows = score_rows(confirmation, confirmation.metrics(), [arm], bootstrap=bootstrap)
    return {
        "label": arm.label,
        **arm.point.plain(),
        "seed_indices": sorted(arm.runs),
        "trials": [row.trial for _, row in sorted(arm.runs.items())],
        "failed": arm.failed,
        "metrics": {row.metric: _scores(row, bootstrap) for row in rows if row.seeds},
    }


def _scores(row: ScoreRow, bootstrap: bool) -> dict[str, Any]:
    scores: dict[str, Any] = {"mean": row.mean, "sd": row.sd, "seeds": row.seeds}
    if row.difference is None:
        return scores
    of_row = row.difference
    difference = {
        **{key: getattr(of_row, key) for key in _KEPT[:-1]},
        "interval": _list(of_row.interval),
        **({"bootstrap_interval": _list(of_row.bootstrap)} if bootstrap else {}),
        "verdict": of_row.verdict,
    }
    return scores | {"difference": difference}


def _list(interval: Interval | None) -> list[float] | None:
    return None if interval is None else list(interval)


def _pair(interval: Sequence[float] | None) -> Interval | None:
    return None if interval is None else (interval[0], interval[1])
