"""What one trial of a study runs whose trainer is a program of the user's own."""

import sys
from pathlib import Path

from wconv_jobs.program_trial import ProgramTrial, program_folder
from wconv_jobs.seeding import derive_seed
from wconv_sweep.study.config import StudyConfig
from wconv_sweep.study.point import Point
from wconv_sweep.study.trial_spec import config_at
from wconv_trial.names import SHORT_SEEDS


def program_trial(
    config: StudyConfig,
    point: Point,
    replicate: int,
    folder: Path,
    *,
    threads_per_rank: int | None = None,
    deadline_s: float | None = None,
) -> ProgramTrial:
    """Return the order to run the program; see `wconv_sweep.study.trial_spec.trial_spec`."""
    config = config_at(config, point)
    trainer = config.trainer
    assert trainer is not None
    seed = derive_seed(config.seed, replicate)
    return ProgramTrial(
        command=tuple(
            trainer.command(
                sys.executable, point.density, seed % SHORT_SEEDS, program_folder(folder)
            )
        ),
        preload=tuple(trainer.loaded),
        env=trainer.env,
        options=trainer.options,
        metric=config.objective.metric,
        reports=trainer.reports,
        density=point.density,
        seed=seed,
        threads_per_rank=threads_per_rank or config.trial.threads_per_rank,
        checkpoint_folder=folder,
        code_folder=config.code_folder,
        deadline_s=deadline_s,
    )
