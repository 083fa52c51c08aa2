"""What a study has found, as plain data for `export` and scripts."""

from dataclasses import asdict
from typing import Any

from wconv_jobs.seeding import derive_seed
from wconv_sweep.evidence.confirmation import Arm, Confirmation, noise_of_baseline, surrogate_of
from wconv_sweep.evidence.overview import StudyOverview
from wconv_sweep.evidence.study_status import StudyStatus


def confirmation_json(confirmation: Confirmation, *, bootstrap: bool) -> dict[str, Any]:
    """Return what fresh seeds have shown: all scores, and their differences to plain.

    Args:
        confirmation: of a study.
        bootstrap: also give the intervals by resampling, which take a second.
    """
    named = confirmation.named
    return {
        "complete": confirmation.complete,
        "claim": confirmation.claim,
        "metric": confirmation.metric,
        "seeds": {
            "study_seed": confirmation.config.seed,
            "indices": sorted(confirmation.plain.runs),
        },
        "plain": _arm(confirmation, confirmation.plain, bootstrap),
        "candidates": [
            {"named": arm is named} | _arm(confirmation, arm, bootstrap)
            for arm in confirmation.candidates
        ],
        "ablation": [_arm(confirmation, arm, bootstrap) for arm in confirmation.ablations],
    }


def surrogate_json(status: StudyStatus) -> dict[str, Any] | None:
    """Return what all trials of the search say together; None before one has completed.

    Its noise stands beside the spread of the plain baseline over its seeds, which is larger where
    the trials of the search share one seed.
    """
    surrogate = surrogate_of(status.trials, status.config)
    if surrogate is None:
        return None
    density = surrogate.best_point()
    (mean,), (sd,) = surrogate.mean_sd([density])
    baseline = noise_of_baseline(status.trials, status.config.objective.metric)
    return {
        "density": list(density),
        "expected": float(mean),
        "sd": float(sd),
        "noise_sd": surrogate.noise_sd,
        "baseline_sd": baseline.sd if baseline else None,
        "baseline_seeds": baseline.seeds if baseline else 0,
        "trials": surrogate.trials,
        "collapsed": surrogate.collapsed,
    }


def pruning_json(study: StudyOverview) -> dict[str, int] | None:
    """Return what pruning saved and what would have been trained without; None without any."""
    trained, saved = study.epochs, study.epochs_saved
    return (
        {"epochs": trained, "epochs_without": trained + saved, "saved": saved} if saved else None
    )


def _arm(confirmation: Confirmation, arm: Arm, bootstrap: bool) -> dict[str, Any]:
    metrics: dict[str, dict[str, Any]] = {}
    for metric in confirmation.metrics():
        summary = arm.summary(metric)
        if summary is None:
            continue
        metrics[metric] = asdict(summary)
        difference = confirmation.difference(arm, metric)
        if arm is not confirmation.plain and difference is not None:
            seed = derive_seed(confirmation.config.seed, "bootstrap", arm.label, metric)
            metrics[metric]["difference"] = {
                "mean": difference.mean,
                "sd": difference.sd,
                "seeds": difference.seeds,
                "level": difference.level,
                "interval": _list(difference.interval),
                **({"bootstrap_interval": _list(difference.bootstrap(seed))} if bootstrap else {}),
                "verdict": difference.verdict(confirmation.direction(metric)),
            }
    return {
        "label": arm.label,
        "density": list(arm.density),
        "seed_indices": sorted(arm.runs),
        "trials": [row.trial for _, row in sorted(arm.runs.items())],
        "failed": arm.failed,
        "metrics": metrics,
    }


def _list(interval: tuple[float, float] | None) -> list[float] | None:
    return None if interval is None else list(interval)
