"""The network of a trial as it is before the first step."""

import torch
from torch import nn

from wconv_jobs.models import build_model
from wconv_jobs.seeding import derive_seed, drawing_from
from wconv_jobs.spec import TrialSpec
from wconv_jobs.training.initialization import initialize
from wconv_jobs.training.rank_invariance import share_batch_norm, share_dropout
from wconv_jobs.training.world import World

DTYPES = {"float32": torch.float32, "float64": torch.float64}


def network_of(spec: TrialSpec, seed: int, world: World) -> nn.Module:
    """Build the network with its initial weights, the layers that ranks share, and no density.

    Args:
        spec: of the trial.
        seed: of the trial, its replicate included.
        world: the ranks that train it.

    Raises:
        JobError: it cannot be built; the message says why.
    """
    recipe = spec.recipe
    with drawing_from(derive_seed(seed, "build")):
        model = build_model(spec.model.name, **spec.model.options)
    initialize(model, recipe.init, derive_seed(seed, "init"))
    share_dropout(model, world)
    if recipe.batch_norm_over == "batch":
        share_batch_norm(model, world)
    return model.to(device=world.device, dtype=DTYPES[recipe.dtype])
