"""The network of a finished trial: stock layers, with no cost of the density left."""

from torch import Tensor, nn

from wconv_jobs import own_code
from wconv_jobs.artifacts.before_after import BeforeAfter
from wconv_jobs.artifacts.test_images import restored
from wconv_jobs.data import load_task
from wconv_jobs.memory_format import arrange
from wconv_jobs.models import build_model, run_eagerly
from wconv_jobs.seeding import derive_seed
from wconv_jobs.spec import TrialSpec
from wconv_jobs.tasks.task import Task
from wconv_jobs.training import checkpoint
from wconv_jobs.training.evaluation import evaluate
from wconv_jobs.training.loop import LONE_PROCESS


def load_weights(spec: TrialSpec) -> dict[str, Tensor]:
    """Return the trained weights by name, folded: V = W * Phi where the density acts.

    Training runs on the effective weights V, so the density is in them, and stock convolutions
    give what weighted ones gave.

    Raises:
        CheckpointError: the trial's checkpoint cannot be used.
    """
    return checkpoint.load_weights(spec)


def build_trained(spec: TrialSpec, weights: dict[str, Tensor]) -> nn.Module:
    """Return the network with these weights, on the CPU, ready to be used.

    Raises:
        JobError: the network cannot be built.
    """
    own_code.add_folder(spec.code_folder)
    model = build_model(spec.model.name, **spec.model.options)
    run_eagerly(model)
    model.to(dtype=next(value for value in weights.values() if value.is_floating_point()).dtype)
    model.load_state_dict(weights)
    arrange(model, spec.memory_format)
    return model.eval()


def test_metrics(spec: TrialSpec, model: nn.Module) -> dict[str, float]:
    """Return the metrics of a network on the test set, `test_...` as in a trial's result.

    Raises:
        JobError: the data cannot be used.
    """
    further = spec.recipe.test_metrics
    order = spec.memory_format
    found = evaluate(model, _task(spec), "test", LONE_PROCESS, further, memory_format=order)
    return {f"test_{name}": value for name, value in found.items()}


def test_images(spec: TrialSpec, model: nn.Module, images: int) -> list[BeforeAfter]:
    """Return the first test images before and after a network, see
    `wconv_jobs.artifacts.test_images`.

    Raises:
        JobError: the data cannot be used.
    """
    return restored(model, _task(spec), images, memory_format=spec.memory_format)


def _task(spec: TrialSpec) -> Task:
    return load_task(spec.data, seed=derive_seed(spec.study_seed, spec.replicate))
