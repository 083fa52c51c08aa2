"""The density coefficients as Optuna parameters, and the sampler that proposes them."""

from optuna.distributions import FloatDistribution
from optuna.samplers import BaseSampler, GPSampler, RandomSampler, TPESampler
from optuna.storages import BaseStorage
from optuna.study import load_study

from wconv_jobs.seeding import derive_seed
from wconv_sweep.study_config import StudyConfig


def distributions_of(config: StudyConfig) -> dict[str, FloatDistribution]:
    """Return the parameters `density_1` (the outermost coefficient) to `density_n`."""
    return {
        f"density_{number}": FloatDistribution(low, high)
        for number, (low, high) in enumerate(config.search.bounds, start=1)
    }


def propose(
    config: StudyConfig, storage: BaseStorage, trial_id: int, position: int
) -> tuple[float, ...]:
    """Return the density that the study's sampler proposes for a running trial.

    The sampler's seed depends on the study and the slot's place in it: a study worked on by one
    pilot proposes the same densities each time it is run, whatever else the storage holds.

    Args:
        config: the study's definition.
        storage: Optuna's client; its cache should live as long as the agent.
        trial_id: the trial, which has no parameters yet.
        position: place of the slot in its study.
    """
    sampler = _sampler(config, derive_seed(config.seed, "sampler", position) % 2**32)
    # A study object of its own per proposal: Optuna keeps the trials it has read in the object
    # until its own `ask` is called.
    study = load_study(study_name=config.study, storage=storage, sampler=sampler)
    trial = storage.get_trial(trial_id)
    sampler.before_trial(study, trial)
    space = sampler.infer_relative_search_space(study, trial)
    params = sampler.sample_relative(study, trial, space)
    return tuple(
        float(
            params[name]
            if name in params
            else sampler.sample_independent(study, trial, name, distribution)
        )
        for name, distribution in distributions_of(config).items()
    )


def _sampler(config: StudyConfig, seed: int) -> BaseSampler:
    chosen = config.search.sampler
    if chosen.name == "tpe":
        return TPESampler(n_startup_trials=chosen.startup_trials, seed=seed)
    if chosen.name == "gp":
        return GPSampler(n_startup_trials=chosen.startup_trials, seed=seed)
    return RandomSampler(seed=seed)
