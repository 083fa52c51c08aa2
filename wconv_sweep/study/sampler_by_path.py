"""Samplers by import path: Optuna's own, or classes of the user derived from them."""

import importlib
import inspect
import warnings
from typing import TYPE_CHECKING, Any

from wconv_sweep.errors import ConfigurationError
from wconv_sweep.study.search_config import OptunaSpec

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler

# Optuna is imported where needed: commands that read a study must answer at once.

_COUNTING = {"GridSampler": "grid", "BruteForceSampler": "grid", "QMCSampler": "qmc"}
"""Samplers that count or end the study in a storage of their own, which agents do not share."""


def make_sampler(spec: OptunaSpec, seed: int) -> "BaseSampler":
    """Return the sampler that a study names.

    Args:
        spec: its class and options.
        seed: goes to the class as `seed`, where it takes one and the options have none.

    Raises:
        ConfigurationError: it cannot be imported, is not a sampler, or does not take the options.
    """
    try:
        found = _class_of(spec.path)
    except (TypeError, ValueError) as error:
        raise ConfigurationError(f"search.sampler.path: {error}") from error
    options: dict[str, Any] = dict(spec.options)
    if "seed" in inspect.signature(found).parameters:
        options.setdefault("seed", seed)
    try:
        with warnings.catch_warnings():
            # Many of Optuna's samplers and options are experimental, and warn each time.
            warnings.simplefilter("ignore")
            return found(**options)
    except Exception as error:  # any error of the class about its options
        raise ConfigurationError(
            f"search.sampler.options: {spec.path} does not take them: {error}. Look at the "
            "arguments of the class."
        ) from error


def what_is_wrong(spec: OptunaSpec) -> list[tuple[str, str]]:
    """Return the problems of a sampler by path, as (key of its section, sentence)."""
    try:
        _class_of(spec.path)
    except (TypeError, ValueError) as error:
        return [("path", str(error))]
    try:
        make_sampler(spec, seed=0)
    except ConfigurationError as error:
        return [("options", str(error).removeprefix("search.sampler.options: "))]
    return []


def _class_of(path: str) -> "type[BaseSampler]":
    from optuna.samplers import BaseSampler

    module, _, name = path.rpartition(".")
    try:
        found = getattr(importlib.import_module(module), name)
    except ImportError as error:
        raise ValueError(
            f"is {path}, which cannot be imported: {error}. Install it where the study is "
            "launched and on every node, e.g. into the same environment."
        ) from error
    except AttributeError as error:
        raise ValueError(f"is {path}, but {module} has no {name}.") from error
    if not (inspect.isclass(found) and issubclass(found, BaseSampler)):
        raise TypeError(f"is {path}, which is not derived from optuna.samplers.BaseSampler.")
    if inspect.isabstract(found):
        raise TypeError(f"is {path}, which is abstract. Choose a sampler derived from it.")
    if module.startswith("optuna.") and name in _COUNTING:
        raise ValueError(
            f"is {path}, which keeps its place in a storage of its own. Take "
            f"`name: {_COUNTING[name]}`, which works with any number of workers."
        )
    return found
