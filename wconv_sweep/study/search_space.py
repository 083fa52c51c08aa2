"""The density coefficients as Optuna parameters."""

from optuna.distributions import FloatDistribution

from wconv_sweep.study.config import StudyConfig


def distributions_of(config: StudyConfig) -> dict[str, FloatDistribution]:
    """Return the parameters `density_1` (the outermost coefficient) to `density_n`."""
    return {
        f"density_{number}": FloatDistribution(low, high)
        for number, (low, high) in enumerate(config.search.bounds, start=1)
    }
