"""One half of the effect of a density on a training run, to learn which half a gain comes from.

Since conv(x, W * Phi) is plain convolution by V = W * Phi, a density that stays fixed has two
effects and no other: V starts at W * Phi, and the gradient of each tap is scaled by Phi. Each may
be given to plain convolution alone.
"""

from collections.abc import Sequence

from torch import nn

from wconv_jobs.errors import JobError
from wconv_jobs.sites import in_study_words
from wconv_jobs.spec import Ablation, SitesSpec
from wconv_kernels import DensityEngine


def density_engine(
    model: nn.Module, density: Sequence[float], ablation: Ablation, where: SitesSpec
) -> DensityEngine | None:
    """Give a model its density, or the half of it that an ablation leaves.

    Args:
        model: is given the initial weights in place.
        density: coefficients, outermost first.
        ablation: `none` gives both halves, `initial weights` starts at W * Phi and trains like
            plain convolution, `gradient` starts at W and scales gradients.
        where: the layers that the density scales.

    Returns:
        What is to be attached to the optimizer; None where it sees plain convolution, as with a
        density of ones.

    Raises:
        JobError: a coefficient is 0, which has no gradient-only half: its weights would keep
            their values and never be trained.
        SiteError: `where` matches no layer, or the layers cannot be told apart.
    """
    if ablation != "gradient":
        engine = _engine(model, density, where)
        if ablation == "none" and any(value != 1 for value in density):
            return engine
        # Leaves V = W * Phi in plain convolutions. By ones that is W bitwise, so the baseline
        # trains as the stock network does, also in its time.
        engine.detach()
        return None
    if 0.0 in density:
        raise JobError(
            f"the density {tuple(density)} has a 0, so its gradient alone has no effect. "
            "Leave the ablation out."
        )
    initial = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    engine = _engine(model, density, where)
    model.load_state_dict(initial, strict=False)
    engine.adopt_weights()
    return engine


def _engine(model: nn.Module, density: Sequence[float], where: SitesSpec) -> DensityEngine:
    with in_study_words():
        return DensityEngine(model, density, include=where.include, exclude=where.exclude)
