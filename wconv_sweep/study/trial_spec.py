"""What one trial of a study trains: the only place where a study becomes the order of a trial.

The digest of a checkpoint follows from it: `export` must ask for the trial that the pilot trained.
"""

from pathlib import Path

from wconv_jobs.spec import Ablation, TrialSpec
from wconv_sweep.study.config import StudyConfig, config_of
from wconv_sweep.study.point import Point


def trial_spec(
    config: StudyConfig,
    point: Point,
    replicate: int,
    folder: Path,
    *,
    ablation: Ablation = "none",
    threads_per_rank: int | None = None,
    deadline_s: float | None = None,
) -> TrialSpec:
    """Return the order to train a point.

    Args:
        config: of the study.
        point: its density, and its values of other keys of the study.
        replicate: seed index.
        folder: of the trial, where its checkpoint lies.
        ablation: what plain convolution gets of the density's effect.
        threads_per_rank: CPU threads of each rank; None: those of the study.
        deadline_s: Unix time from which on it ends at a checkpoint; None has no limit.
    """
    config = config_at(config, point)
    return TrialSpec(
        model=config.model,
        data=config.data,
        recipe=config.recipe,
        density=point.density,
        study_seed=config.seed,
        replicate=replicate,
        ablation=ablation,
        sites=config.sites,
        threads_per_rank=threads_per_rank or config.trial.threads_per_rank,
        checkpoint_folder=folder,
        code_folder=config.code_folder,
        deadline_s=deadline_s,
    )


def config_at(config: StudyConfig, point: Point) -> StudyConfig:
    """Return the study with the values of a point in place of its own."""
    if not point.settings:
        return config
    plain = config.plain()
    for key, value in point.settings:
        *sections, name = key.split(".")
        section = plain
        for each in sections:
            section = section[each]
        section[name] = value
    return config_of(plain)
