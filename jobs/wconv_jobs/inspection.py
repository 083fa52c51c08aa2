"""The costs of a network, found on torch's meta device: without weights, data, GPU or waiting.

A network whose code looks at numbers, which the meta device has none of, is built on the CPU.
"""

import contextlib
import math
import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TextIO

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils.flop_counter import FlopCounterMode

from wconv_jobs import catalog, own_code
from wconv_jobs.data import load_task
from wconv_jobs.errors import JobError
from wconv_jobs.models import build_model, run_eagerly
from wconv_jobs.sites import in_study_words
from wconv_jobs.spec import DataSpec, ModelSpec, RecipeSpec, SitesSpec
from wconv_kernels import SiteError, sites

_BATCH = 2
"""Samples in the trial batch: BatchNorm refuses a single one."""


@dataclass(frozen=True)
class NetworkFacts:
    """Sizes and costs of a network for samples of one shape."""

    sites: int
    """Number of convolutions that the density scales."""
    kernels: dict[str, int]
    """Number of convolutions by the size of their kernel, e.g. {"3x3": 55}."""
    parameters: int
    """Trainable ones."""
    weighted_parameters: int
    """Those that the density multiplies."""
    macs: int
    """Multiply-accumulates of the forward pass of one sample: convolutions and matrix products."""
    weighted_macs: int
    """Those of the sites."""
    left_plain: tuple[str, ...]
    """Names of the convolutions of the density's size that it does not scale, by the study's
    `sites`."""
    activation_bytes: int
    """Memory that the backward pass of one sample needs, in float32."""


def sample_shape(data: DataSpec) -> tuple[int, ...]:
    """Return the shape of one training sample, the channels first; loads what is the user's own.

    Raises:
        JobError: an option is wrong, or the data cannot be loaded.
    """
    if not own_code.is_own(data.name):
        return catalog.sample_shape(data.name, data.options)
    with without_the_users_prints():
        try:
            task = load_task(data, seed=0)
            return tuple(task.train_batch(0, range(1))[0].shape[1:])
        except JobError:
            raise
        except Exception as error:
            raise JobError(
                f"{data.name} cannot be loaded: {own_code.words(error)}. Correct the function, or "
                "its options."
            ) from error


def inspect_network(
    spec: ModelSpec,
    kernel_size: int,
    sample_shape: tuple[int, ...],
    where: SitesSpec = SitesSpec(),
) -> NetworkFacts:
    """Return the facts of a network.

    Args:
        spec: the network.
        kernel_size: of the density.
        sample_shape: of one training sample, the channels first.
        where: the layers that the density scales.

    Raises:
        JobError: the network cannot be built with its options, does not take such samples, or
            returns no tensor.
        SiteError: no convolution has the kernel size, or `where` matches none, or one that the
            density cannot scale.
    """
    with without_the_users_prints():
        try:
            try:
                return _inspected(spec, kernel_size, sample_shape, where, "meta")
            except (JobError, SiteError):
                raise
            except Exception:  # its code looks at numbers, or something is wrong with it
                return _inspected(spec, kernel_size, sample_shape, where, "cpu")
        except (JobError, SiteError):
            raise
        except Exception as error:
            raise JobError(
                f"{spec.name} cannot be built and tried on a CPU with samples of shape "
                f"{sample_shape}: {own_code.words(error)}. Correct the network, its options or "
                "the data; one that needs a GPU can be checked where there is one."
            ) from error


def _inspected(
    spec: ModelSpec,
    kernel_size: int,
    sample_shape: tuple[int, ...],
    where: SitesSpec,
    device: str,
) -> NetworkFacts:
    with torch.device(device):
        model = build_model(spec.name, **spec.options).train()
        run_eagerly(model)
        inputs = torch.rand(_BATCH, *sample_shape)
    with in_study_words():
        ones = (1.0,) * (kernel_size // 2)
        found = sites(model, ones, include=where.include, exclude=where.exclude)
    convolutions = {
        name: layer
        for name, layer in model.named_modules()
        if isinstance(layer, nn.Conv1d | nn.Conv2d | nn.Conv3d)
    }
    of_the_size = [
        name for name, layer in convolutions.items() if set(layer.kernel_size) == {kernel_size}
    ]
    weighted_macs = 0

    def count(layer: nn.Module, _: object, output: Tensor) -> None:
        nonlocal weighted_macs
        assert isinstance(layer.weight, Tensor)
        weighted_macs += output.numel() * math.prod(layer.weight.shape[1:])

    hooks = [layer.register_forward_hook(count) for layer in set(found.values())]
    kept = _Kept(model)
    with FlopCounterMode(display=False) as flops, saved_tensors_hooks(kept.pack, kept.unpack):
        output = model(inputs)
    for hook in hooks:
        hook.remove()
    if not isinstance(output, Tensor):
        raise JobError(not_a_tensor(output))
    return NetworkFacts(
        sites=len(found),
        kernels=dict(
            Counter("x".join(map(str, layer.kernel_size)) for layer in convolutions.values())
        ),
        parameters=_size(model.parameters()),
        weighted_parameters=_size({layer.weight for layer in found.values()}),
        macs=flops.get_total_flops() // 2 // _BATCH,
        weighted_macs=weighted_macs // _BATCH,
        activation_bytes=kept.total_bytes // _BATCH,
        left_plain=tuple(name for name in of_the_size if name not in found),
    )


def memory_bytes(facts: NetworkFacts, recipe: RecipeSpec, ranks: int) -> int:
    """Return an estimate of the memory that training takes on each rank's GPU.

    Weights, gradients (twice with several ranks, which exchange a copy), the optimizer's state,
    the raw weights of the sites, the best epoch's weights where early stopping keeps them, and the
    activations of the rank's share of the batch, taken in full precision also with `amp`. CUDA's
    own few hundred MB, the workspace of its kernels and data that live on the GPU come on top.
    """
    item_bytes = 8 if recipe.dtype == "float64" else 4
    states = recipe.optimizer.states_per_parameter
    copies = 2 + states + (ranks > 1) + (recipe.early_stopping is not None)
    weights = item_bytes * (copies * facts.parameters + facts.weighted_parameters)
    return weights + facts.activation_bytes * (item_bytes // 4) * (recipe.batch_size // ranks)


def not_a_tensor(output: object) -> str:
    """Say what a network returns in place of a tensor, and what to do."""
    held = ""
    if isinstance(output, Mapping):
        held = f" with {', '.join(map(repr, output))}"
    elif isinstance(output, tuple | list):
        held = f" of {len(output)}"
    return (
        f"the network returns a {type(output).__name__}{held} when training, not a tensor. Wrap "
        "it in a module whose forward returns the tensor that the loss takes."
    )


def without_the_users_prints() -> contextlib.redirect_stdout[TextIO]:
    """Send what the user's code prints to standard error: standard output is the command's."""
    return contextlib.redirect_stdout(sys.stderr)


class _Kept:
    """Counts the memory of tensors that autograd keeps, parameters and shared memory left out."""

    def __init__(self, model: nn.Module) -> None:
        self._seen = {_reference(parameter) for parameter in model.parameters()}
        self._tensors: list[Tensor] = []  # alive, so that no storage is taken for another
        self.total_bytes = 0

    def pack(self, tensor: Tensor) -> Tensor:
        reference = _reference(tensor)
        if reference not in self._seen:
            self._seen.add(reference)
            self._tensors.append(tensor)
            self.total_bytes += tensor.untyped_storage().nbytes()
        return tensor

    @staticmethod
    def unpack(tensor: Tensor) -> Tensor:
        return tensor


def _reference(tensor: Tensor) -> StorageWeakRef:
    return StorageWeakRef(tensor.untyped_storage())  # type: ignore[no-untyped-call]


def _size(parameters: Iterable[Tensor]) -> int:
    return sum(parameter.numel() for parameter in parameters if parameter.requires_grad)
