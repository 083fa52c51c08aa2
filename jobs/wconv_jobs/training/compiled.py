"""Training steps with a compiled network, compared with eager ones before they count."""

import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from wconv_jobs import own_code
from wconv_jobs.errors import JobError
from wconv_jobs.models import run_compiled_in_training
from wconv_jobs.spec import TrialSpec
from wconv_jobs.training.probe import random_state_kept
from wconv_jobs.training.world import World

CHECKED_STEPS = 3
"""Steps that are compared, each from other weights."""


def compile_checked(
    model: nn.Module, spec: TrialSpec, loss_of: Callable[[int], Tensor], world: World
) -> None:
    """Let a network train as torch.compile makes it, if it computes what it does without.

    Args:
        model: before it has its density, which changes weights and no code. It ends with the
            weights and buffers that it has.
        spec: of the trial.
        loss_of: returns the loss of a step, from the network.
        world: of this process; all ranks call this.

    Raises:
        JobError: it cannot be compiled here, or loss, gradients or buffers differ by more than
            rounding.
    """
    _keep_files_of_the_compiler()
    eagerly = model._compiled_call_impl
    run_compiled_in_training(model, _options(spec))
    compiled = model._compiled_call_impl
    optimizer = spec.recipe.optimizer.build(model.parameters())
    before = _State.of(model)
    model.train()
    with random_state_kept(world.device):
        for step in range(CHECKED_STEPS):
            buffers = _State.of(model, parameters=False)
            model._compiled_call_impl = eagerly
            expected = _pass(model, loss_of, step)
            buffers.restore(model)
            model._compiled_call_impl = compiled
            found = _compiled_pass(model, loss_of, step)
            _compare(found, expected, _tolerance(spec, world), step)
            optimizer.step()
    before.restore(model)
    model.zero_grad()


def _options(spec: TrialSpec) -> dict[str, Any]:
    return {
        # Dropout draws what it draws without a compiler.
        "fallback_random": True,
        # With more, each rank would start processes that compile.
        "compile_threads": spec.threads_per_rank,
        "triton.cudagraphs": spec.recipe.compile == "reduce-overhead",
    }


@dataclass(frozen=True)
class _State:
    """Copies of what a network holds, by name."""

    tensors: dict[str, Tensor]

    @staticmethod
    def of(model: nn.Module, *, parameters: bool = True) -> "_State":
        held = [*model.named_buffers(), *(model.named_parameters() if parameters else ())]
        return _State({name: tensor.detach().clone() for name, tensor in held})

    @torch.no_grad()
    def restore(self, model: nn.Module) -> None:
        for name, tensor in (*model.named_buffers(), *model.named_parameters()):
            if name in self.tensors:
                tensor.copy_(self.tensors[name])


@dataclass(frozen=True)
class _Pass:
    """What a step computes before the optimizer takes it."""

    loss: list[Tensor]
    gradient: list[Tensor]
    statistics: list[Tensor]


def _pass(model: nn.Module, loss_of: Callable[[int], Tensor], step: int) -> _Pass:
    torch.manual_seed(step)
    loss = loss_of(step)
    model.zero_grad()
    torch.autograd.backward(loss)
    gradients = [each.grad for each in model.parameters() if each.grad is not None]
    return _Pass(
        loss=[loss.detach()],
        gradient=[gradient.clone() for gradient in gradients],
        statistics=[each.clone() for each in model.buffers() if each.is_floating_point()],
    )


def _compiled_pass(model: nn.Module, loss_of: Callable[[int], Tensor], step: int) -> _Pass:
    try:
        return _pass(model, loss_of, step)
    except torch.OutOfMemoryError:
        raise
    except Exception as error:
        raise JobError(
            f"recipe.compile: torch.compile cannot compile the network here: "
            f"{own_code.words(error)}. Set recipe.compile to false."
        ) from error


def _compare(found: _Pass, expected: _Pass, tolerance: float, step: int) -> None:
    for what in ("loss", "gradient", "statistics"):
        difference = _difference(getattr(found, what), getattr(expected, what))
        if not difference <= tolerance:
            raise JobError(
                f"recipe.compile: the compiled network is not the eager one: off by "
                f"{difference:.1e} in the {what} of step {step + 1}, where rounding makes at most "
                f"{tolerance:.0e}. Set recipe.compile to false."
            )


def _difference(found: list[Tensor], expected: list[Tensor]) -> float:
    """Return the Euclidean distance of all values, relative to their norm."""
    if len(found) != len(expected):
        return float("inf")
    pairs = [
        (one.double().nan_to_num(), other.double().nan_to_num())
        for one, other in zip(found, expected, strict=True)
    ]
    distance = sum(float((one - other).square().sum()) for one, other in pairs)
    size = sum(float(other.square().sum()) for _, other in pairs)
    return float((distance / size) ** 0.5) if size else distance


def _tolerance(spec: TrialSpec, world: World) -> float:
    """Return what rounding may make of the norm of a gradient."""
    if spec.recipe.amp == "bfloat16":
        return 1e-1
    if spec.recipe.dtype == "float64":
        return 1e-8
    # A GPU multiplies with ten bits of the fraction where torch lets it.
    return 1e-2 if world.device.type == "cuda" else 1e-3


def _keep_files_of_the_compiler() -> None:
    """Let what is compiled lie in a folder of the user's alone, on this node.

    Triton would take the user's home, and torch one of a name that anybody could have taken
    before. The ranks of a node share it: what one has compiled, the others read. A folder that the
    user has named stays.
    """
    named = os.environ.get("TORCHINDUCTOR_CACHE_DIR")
    # torch sets its own one as soon as it is loaded.
    if named is None or Path(named).name.startswith("torchinductor_"):
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(_own_folder())
    below = Path(os.environ["TORCHINDUCTOR_CACHE_DIR"]) / "triton"
    os.environ.setdefault("TRITON_CACHE_DIR", str(below))


def _own_folder() -> Path:
    folder = Path(tempfile.gettempdir()) / f"wconv-sweep-compiled-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    facts = folder.lstat()
    if facts.st_uid == os.getuid() and not facts.st_mode & 0o077:
        return folder
    return Path(tempfile.mkdtemp(prefix="wconv-sweep-compiled-"))
