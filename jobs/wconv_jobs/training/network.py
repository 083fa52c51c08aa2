"""The network of a trial as it is before the first step, tried with a few samples."""

from dataclasses import dataclass
from functools import partial

import torch
from torch import nn

from wconv_jobs import own_code
from wconv_jobs.data import load_task
from wconv_jobs.errors import JobError
from wconv_jobs.inspection import without_the_users_prints
from wconv_jobs.memory_format import arrange
from wconv_jobs.models import build_model
from wconv_jobs.seeding import derive_seed, drawing_from
from wconv_jobs.spec import TrialSpec
from wconv_jobs.tasks.task import Task
from wconv_jobs.training.initialization import initialize
from wconv_jobs.training.network_check import unused_parameters
from wconv_jobs.training.rank_invariance import share_batch_norm, share_dropout
from wconv_jobs.training.share_check import check_shares
from wconv_jobs.training.world import World

DTYPES = {"float32": torch.float32, "float64": torch.float64}


@dataclass(frozen=True)
class Tried:
    """A network that may be trained."""

    model: nn.Module
    unused: list[str]
    """Names of the parameters that the loss does not use."""


def tried_network(spec: TrialSpec, seed: int, task: Task, world: World) -> Tried:
    """Build the network of a trial, and check it before training.

    Args:
        spec: of the trial.
        seed: of the trial, its replicate included.
        task: gives the samples and the loss.
        world: the ranks that train it.

    Raises:
        JobError: it cannot be built, does not take the samples, or several ranks would train
            another network than one.
    """
    recipe = spec.recipe
    build = partial(_network_of, spec, seed, world)
    model = build()
    amp = recipe.amp == "bfloat16"
    unused = unused_parameters(model, task, world, amp=amp, build=build)
    # Those that come with the program are known to be the same on any number of ranks.
    is_own = own_code.is_own(spec.model.name) or own_code.is_own(spec.data.name)
    if is_own and world.size > 1 and recipe.batch_norm_over == "batch":
        check_shares(model, task, world, recipe.label_smoothing, build)
    return Tried(model, unused)


def try_network(spec: TrialSpec, ranks: int) -> None:
    """Do what a trial does before its first step, on this CPU, in place of its first rank.

    So nobody waits in a queue for what can be said at once.

    Args:
        spec: of the trial.
        ranks: that are to train it.

    Raises:
        JobError: see `tried_network`.
    """
    seed = derive_seed(spec.study_seed, spec.replicate)
    world = World(rank=0, size=ranks, device=torch.device("cpu"))
    with without_the_users_prints():
        try:
            tried_network(spec, seed, load_task(spec.data, seed=seed), world)
        except JobError:
            raise
        except Exception as error:
            raise JobError(
                f"{spec.model.name} cannot be trained with {spec.data.name}: "
                f"{own_code.words(error)}. Correct the network, its options or the data."
            ) from error


def _network_of(spec: TrialSpec, seed: int, world: World) -> nn.Module:
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
    model.to(device=world.device, dtype=DTYPES[recipe.dtype])
    arrange(model, spec.memory_format)
    return model
