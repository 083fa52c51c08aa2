"""Folds the file of a network that a program of the user's has trained, and scores it again.

A process of the trainer's interpreter, in the folder of the program's code, runs it, since it
calls the user's functions:

    python -c "from wconv_kernels.fold_file import main; main()" ORDER.json

The order names the functions, their arguments and the files; what came of it is written beside it.
The file is read by a loader that executes nothing.
"""

import importlib
import inspect
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from wconv_kernels.convert import fold, replace_convolutions
from wconv_kernels.errors import WeightsError


def main() -> None:
    """Obey the order that the command line names."""
    order = json.loads(Path(sys.argv[1]).read_text("utf-8"))
    try:
        found = fold_file(**order)
    except (WeightsError, OSError) as error:
        sys.exit(str(error))
    Path(sys.argv[1]).with_suffix(".result.json").write_text(json.dumps(found), "utf-8")


def fold_file(
    weights: str,
    folded: str,
    *,
    network: str,
    score: str,
    density: Sequence[float],
    options: Mapping[str, Any],
    seeds: Mapping[str, int],
) -> dict[str, Any]:
    """Write the folded weights of a trained network, load them, and return their scores.

    Args:
        weights: file of the trained network, see `read_weights`.
        folded: file to write: names and tensors, for `torch.load(weights_only=True)`.
        network: function that returns the plain network, as module:function.
        score: function that takes the network, as `network`, and returns numbers by name.
        density: that the network was trained with, outermost first.
        options: arguments of both functions, each given where a function has one of that name.
        seeds: further ones of `score`.

    Returns:
        `scores`, and as `arguments` those that `network` was given.

    Raises:
        WeightsError: a function cannot be used, or the file holds another network.
        OSError: a file cannot be read or written.
    """
    build, arguments = _function(network, options)
    trained = _built(build, network, arguments)
    state = read_weights(weights)
    if state.keys() != trained.state_dict().keys():
        replace_convolutions(trained, tuple(density))
    _load(trained, state, weights, network)
    torch.save(fold(trained).state_dict(), folded)
    plain = _built(build, network, arguments)
    _load(plain, torch.load(folded, map_location="cpu", weights_only=True), folded, network)
    measure, given = _function(score, {**options, **seeds, "network": plain})
    plain.eval()
    return {"scores": _numbers(measure(**given), score), "arguments": arguments}


def read_weights(path: str) -> dict[str, Tensor]:
    """Return the tensors of a file by name, on the CPU.

    Args:
        path: file in the format of safetensors, by its ending, or of torch: a `state_dict`, or one
            among other things, as in a checkpoint. A "module." that DistributedDataParallel puts
            before all names is taken off.

    Raises:
        WeightsError: it holds no such tensors, those of several networks, or other objects.
        OSError: it cannot be read.
    """
    if path.endswith(".safetensors"):
        # Imported here: the operator alone needs only torch.
        from safetensors.torch import load_file

        return dict(load_file(path))
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except OSError:
        raise
    except Exception as error:
        lines = [line.strip() for line in str(error).splitlines()] or [type(error).__name__]
        # After advice on how to load it all the same.
        said = next((line for line in lines if "WeightsUnpickler error" in line), lines[0])
        raise WeightsError(
            f"{path}: cannot be read as tensors by torch.load(weights_only=True): {said}. Let the "
            "program write the state_dict of its network."
        ) from error
    found = _states(content)
    if len(found) != 1:
        what = f"several networks ({', '.join(found)})" if found else "no state_dict"
        raise WeightsError(
            f"{path}: holds {what}. Let the program write the state_dict of its network alone."
        )
    (state,) = found.values()
    if all(name.startswith("module.") for name in state):
        return {name.removeprefix("module."): value for name, value in state.items()}
    return state


def _states(content: object) -> dict[str, dict[str, Tensor]]:
    """Return what may be a state_dict, by its name in a checkpoint."""
    if not isinstance(content, Mapping):
        return {}
    parts = {"itself": content} | {str(name): part for name, part in content.items()}
    return {
        name: dict(part)
        for name, part in parts.items()
        if isinstance(part, Mapping)
        and part
        and all(isinstance(key, str) for key in part)
        and all(isinstance(value, Tensor) for value in part.values())
    }


def _function(name: str, offered: Mapping[str, Any]) -> tuple[Callable[..., Any], dict[str, Any]]:
    """Return a function of the user's, and what it takes of that which is offered."""
    module, _, attribute = name.partition(":")
    try:
        function = getattr(importlib.import_module(module), attribute, None)
    except ImportError as error:
        raise WeightsError(f"{name}: cannot be imported: {error}. Correct the name.") from error
    if not callable(function):
        raise WeightsError(f"{name}: there is no such function. Correct the name.")
    taken = inspect.signature(function).parameters
    return function, {key: value for key, value in offered.items() if key in taken}


def _built(build: Callable[..., Any], name: str, arguments: Mapping[str, Any]) -> nn.Module:
    network = build(**arguments)
    if not isinstance(network, nn.Module):
        raise WeightsError(
            f"{name}: returned {type(network).__name__}, not a torch.nn.Module. Return the plain "
            "network."
        )
    return network


def _load(network: nn.Module, state: Mapping[str, Tensor], path: str, name: str) -> None:
    """Load weights with their own dtype."""
    try:
        network.load_state_dict(dict(state), assign=True)
    except RuntimeError as error:
        said = " ".join(line.strip() for line in str(error).splitlines()[1:3])
        raise WeightsError(
            f"{path}: does not fit the network of {name}: {said} Return the plain network that "
            "the program trains, to which it applies replace_convolutions(network, density)."
        ) from error


def _numbers(found: object, name: str) -> dict[str, float]:
    if not isinstance(found, Mapping) or not found:
        raise WeightsError(
            f"{name}: returned {type(found).__name__}. Return numbers by name, as finish gets "
            'them: {"test_accuracy": 0.9}.'
        )
    return {str(key): float(value) for key, value in found.items()}
