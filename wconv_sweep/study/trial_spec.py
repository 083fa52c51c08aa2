"""What one trial of a study trains: the only place where a study becomes the order of a trial.

The digest of a checkpoint follows from it: `export` must ask for the trial that the pilot trained.
"""

from pathlib import Path

from wconv_jobs.spec import Ablation, Density, TrialSpec
from wconv_sweep.study.config import StudyConfig


def trial_spec(
    config: StudyConfig,
    density: Density,
    replicate: int,
    folder: Path,
    *,
    ablation: Ablation = "none",
    threads_per_rank: int | None = None,
    deadline_s: float | None = None,
) -> TrialSpec:
    """Return the order to train a density.

    Args:
        config: of the study.
        density: coefficients, outermost first.
        replicate: seed index.
        folder: of the trial, where its checkpoint lies.
        ablation: what plain convolution gets of the density's effect.
        threads_per_rank: CPU threads of each rank; None: those of the study.
        deadline_s: Unix time from which on it ends at a checkpoint; None has no limit.
    """
    return TrialSpec(
        model=config.model,
        data=config.data,
        recipe=config.recipe,
        density=density,
        study_seed=config.seed,
        replicate=replicate,
        ablation=ablation,
        sites=config.sites,
        threads_per_rank=threads_per_rank or config.trial.threads_per_rank,
        checkpoint_folder=folder,
        code_folder=config.code_folder,
        deadline_s=deadline_s,
    )
