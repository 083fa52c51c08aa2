"""The networks by name: one module per architecture.

A module holds a function `build` whose keyword arguments, with their annotations and defaults, are
the architecture's options; it draws no weights that `wconv_jobs.training.initialization` does not
draw again. Adding an architecture takes one module and its test.
"""

import importlib
import sys
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from wconv_jobs import own_code
from wconv_jobs.catalog import checked_options
from wconv_jobs.errors import JobError


def build_model(name: str, **options: object) -> nn.Module:
    """Return a new network.

    Args:
        name: a module of this package, or a function of the user's, see `wconv_jobs.own_code`.
        options: keyword arguments of its `build`; those left out take their defaults.

    Returns:
        The network itself, with the names of its own weights, out of what may wrap it: of
        DataParallel, which the ranks stand for, and of torch.compile, whose wrapper is taken off
        while the network stays compiled.

    Raises:
        JobError: an unknown name, an unknown option, a value that the option does not take, or a
            function of the user's that returns something else.
    """
    if own_code.is_own(name):
        network = own_code.call(name, options, {})
        if not isinstance(network, nn.Module):
            raise JobError(
                f"{name}: returned {type(network).__name__}, not a torch.nn.Module. Return the "
                "network."
            )
        network = _bare(network)
        _check_shapes_are_known(name, network)
        return network
    checked = checked_options("models", name, options)
    model = importlib.import_module(f"{__name__}.{name}").build(**checked)
    assert isinstance(model, nn.Module)
    return model


def run_eagerly(model: nn.Module) -> None:
    """Take from a network what torch.compile made of it, where compiling does not pay."""
    model._compiled_call_impl = None


def run_compiled_in_training(model: nn.Module, options: Mapping[str, Any]) -> None:
    """Let torch.compile make what a network does in training; evaluation stays as it is.

    Args:
        model: changed in place, and keeps its names.
        options: of torch.compile.
    """
    before = model._compiled_call_impl or model._call_impl
    compiled = torch.compile(_call_of(model), options=dict(options))

    def call(*inputs: Any, **named: Any) -> Any:
        return (compiled if model.training else before)(*inputs, **named)

    model._compiled_call_impl = call


def _bare(network: nn.Module) -> nn.Module:
    while True:
        if isinstance(network, nn.DataParallel | nn.parallel.DistributedDataParallel):
            network = network.module
        elif _is_compiled(network):
            compiler: Any = network.dynamo_ctx
            network = network.get_submodule("_orig_mod")
            network._compiled_call_impl = compiler(_call_of(network))
        else:
            return network


def _call_of(network: nn.Module) -> Callable[..., Any]:
    # `nn.Module.compile` compiles `_call_impl` itself, and with it none of torch's own containers.
    call: Callable[..., Any] = network._call_impl
    return lambda *inputs, **named: call(*inputs, **named)


def _is_compiled(network: nn.Module) -> bool:
    dynamo = sys.modules.get("torch._dynamo.eval_frame")  # whoever has compiled, has loaded it
    return dynamo is not None and isinstance(network, dynamo.OptimizedModule)


def _check_shapes_are_known(name: str, network: nn.Module) -> None:
    for layer_name, layer in network.named_modules():
        own = (*layer.parameters(recurse=False), *layer.buffers(recurse=False))
        if any(is_lazy(tensor) for tensor in own):
            raise JobError(
                f"{name}: layer {layer_name!r} ({type(layer).__name__}) takes its shape from the "
                "first batch, but its weights are drawn before. Pass a batch through the network "
                "before you return it, or name the sizes."
            )
