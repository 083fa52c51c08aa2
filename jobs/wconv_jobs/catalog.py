"""The names that a study can use: models, data sets and metrics, with the options of each.

Names are the modules of a package. Networks and metrics import torch, so that their options and
literals are read from the source text; data sets do not, and are imported: a login node can check
a study without torch. `wconv_jobs.models`, `wconv_jobs.data` and `wconv_jobs.metrics` use the same
check, so there is one wording.
"""

import ast
import importlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel

from wconv_jobs import own_code
from wconv_jobs.errors import JobError
from wconv_jobs.kinds import TaskKind
from wconv_jobs.options import (
    NoOptions,
    defaults_of,
    given_options,
    nearest,
    options_of,
    validated,
)

Kind = Literal["models", "data", "metrics"]

Progress = Callable[[int, int], None]
"""Called with (done, of how many) while a data set is prepared."""


@cache
def names(kind: Kind) -> tuple[str, ...]:
    """Return the known names of a kind in alphabetical order; private modules are left out."""
    modules = Path(__file__).with_name(kind).glob("*.py")
    return tuple(sorted(module.stem for module in modules if not module.stem.startswith("_")))


@dataclass(frozen=True)
class MetricFacts:
    """What a metric's module says of it, see `wconv_jobs.metrics`."""

    title: str
    """What people call it."""
    unit: str
    """Empty where there is none."""
    kind: TaskKind
    """Which tasks it belongs to."""
    goal: Literal["maximize", "minimize"]
    """Whether more or less of it is better."""
    every_epoch: bool
    """Whether every validation computes it; otherwise a test that a recipe asks it of."""
    may_be_infinite: bool
    """Whether an infinite value is possible without a training that diverged."""
    counts_samples: bool
    """Whether it changes in steps of about 1 / (number of samples)."""


@cache
def metric_facts(name: str) -> MetricFacts:
    """Return the facts of a known metric."""
    return MetricFacts(
        title=_literal("metrics", name, "TITLE"),
        unit=_literal("metrics", name, "UNIT"),
        kind=_literal("metrics", name, "KIND"),
        goal=_literal("metrics", name, "GOAL"),
        every_epoch=_literal("metrics", name, "EVERY_EPOCH"),
        may_be_infinite=_literal_or_none("metrics", name, "MAY_BE_INFINITE") is True,
        counts_samples=_literal_or_none("metrics", name, "COUNTS_SAMPLES") is True,
    )


def epoch_metrics(kind: TaskKind) -> tuple[str, ...]:
    """Return the metrics of each validation and of the test of a kind of task; one of them is a
    study's objective."""
    return _metrics(kind, every_epoch=True)


def further_metrics(kind: TaskKind) -> tuple[str, ...]:
    """Return the metrics of the test set that a recipe may ask for, too slow for every epoch."""
    return _metrics(kind, every_epoch=False)


def check_options(kind: Kind, name: str, options: Mapping[str, object]) -> list[str]:
    """Return one sentence per problem with a name or its options; empty when all is well."""
    return _check(kind, name, options)[1]


def checked_options(kind: Kind, name: str, options: Mapping[str, object]) -> dict[str, Any]:
    """Return the options in the types of the builder, e.g. 25 as 25.0.

    Raises:
        JobError: `check_options` finds problems; the message holds them all.
    """
    values = _valid(kind, name, options)
    return dict(options) if values is None else given_options(values)


def data_options(name: str, options: Mapping[str, object]) -> Any:
    """Return the `Options` of a known data set; those left out have their defaults.

    Raises:
        JobError: `check_options` finds problems; the message holds them all.
    """
    return _valid("data", name, options)


def check_data(name: str, options: Mapping[str, object], *, thorough: bool = False) -> list[str]:
    """Return one sentence per problem with a data set's options or with the files they name.

    Args:
        name: the data set.
        options: its options.
        thorough: read the files from end to end, sums and all; otherwise only what a training run
            would need, in at most a few seconds.
    """
    if own_code.is_own(name):
        return []  # it has no files that are known, and its options are checked with its study
    values, problems = _check("data", name, options)
    if not problems and reads_files(name):
        problems = _data_set(name).check(values, thorough=thorough)
    return [str(problem) for problem in problems]


def prepare_data(name: str, options: Mapping[str, object], on_progress: Progress) -> None:
    """Convert a data set to the form that training reads, unless that is done; idempotent.

    Raises:
        JobError: an option is wrong, or the files cannot be used.
    """
    if own_code.is_own(name):
        return
    values, data_set = data_options(name, options), _data_set(name)
    if hasattr(data_set, "prepare"):
        data_set.prepare(values, on_progress)


def data_checksums(name: str, options: Mapping[str, object]) -> dict[str, str]:
    """Return checksums that detect a changed data set: SHA-256 by the name of the summed content.

    These are the sums that are known without reading the data, see `checksums` of the data set.
    Synthetic and bundled data, and functions of the user's, have none.

    Raises:
        JobError: an option is wrong, or the files cannot be used.
    """
    if own_code.is_own(name):
        return {}
    values, data_set = data_options(name, options), _data_set(name)
    return dict(data_set.checksums(values)) if hasattr(data_set, "checksums") else {}


def generate_data(name: str, folder: Path) -> None:
    """Write small synthetic data in the file format of a data set that reads files.

    Every call writes the same files.
    """
    _data_set(name).generate(folder)


def reads_files(name: str) -> bool:
    """Return whether a data set reads the user's files, in its option `folder`."""
    return not own_code.is_own(name) and hasattr(_data_set(name), "check")


def sample_shape(name: str, options: Mapping[str, object]) -> tuple[int, ...]:
    """Return the shape of one training sample of a known data set, the channels first.

    Raises:
        JobError: an option is wrong.
    """
    return tuple(_data_set(name).sample_shape(data_options(name, options)))


def epoch_samples(name: str, options: Mapping[str, object]) -> int | None:
    """Return the training samples of an epoch where options of a known data set say how many; None
    where its files, or a function of the user's, decide."""
    if name not in names("data"):
        return None
    samples = options.get("crops_per_epoch", default_of("data", name, "crops_per_epoch"))
    return samples if isinstance(samples, int) else None


def data_kind(name: str, own: TaskKind | None = None) -> TaskKind:
    """Return the kind of task of a data set.

    Args:
        name: a known one, or a function of the user's.
        own: of such a function.
    """
    if own_code.is_own(name):
        return own or "denoising"
    kind: TaskKind = _literal("data", name, "KIND")  # a report need not load NumPy for it
    return kind


def smoke_options(kind: Kind, name: str) -> dict[str, Any]:
    """Return the options that make a known model or data set small enough for a smoke run."""
    smoke = _data_set(name).SMOKE if kind == "data" else _literal(kind, name, "SMOKE")
    # As in a file: lists instead of tuples.
    options: dict[str, Any] = json.loads(json.dumps(smoke))
    return options


def default_of(kind: Kind, name: str, option: str) -> object:
    """Return the default of an option; None when a known name has no such option."""
    return defaults_of(_options(kind, name)).get(option)


def smoke_classes(name: str) -> int | None:
    """Return the number of classes of a known data set's synthetic data; None where it is that of
    the real ones."""
    classes: int | None = getattr(_data_set(name), "SMOKE_CLASSES", None)
    return classes


def option_names(kind: Kind, name: str) -> tuple[str, ...]:
    """Return the options that a known name takes."""
    return tuple(defaults_of(_options(kind, name)))


def has_option(kind: Kind, name: str, option: str) -> bool:
    """Return whether a known name takes an option."""
    return option in option_names(kind, name)


def _valid(kind: Kind, name: str, options: Mapping[str, object]) -> BaseModel | None:
    values, problems = _check(kind, name, options)
    if problems:
        raise JobError("\n".join(f"{kind}: {problem}" for problem in problems))
    return values


def _metrics(kind: TaskKind, *, every_epoch: bool) -> tuple[str, ...]:
    every = ((name, metric_facts(name)) for name in names("metrics"))
    return tuple(
        name for name, facts in every if facts.kind == kind and facts.every_epoch is every_epoch
    )


def _check(
    kind: Kind, name: str, options: Mapping[str, object]
) -> tuple[BaseModel | None, list[str]]:
    """Return the options in the types of their class, None for what is the user's own."""
    if own_code.is_own(name):
        passed = {"seed", "device"} if kind == "data" else set()
        return None, own_code.problems(name, options, passed)
    if name not in names(kind):
        return None, [f"unknown name {name!r}; {nearest(name, names(kind))}."]
    return validated(name, _options(kind, name), options)


@cache
def _options(kind: Kind, name: str) -> type[BaseModel]:
    if kind == "data":
        declared: type[BaseModel] = _data_set(name).Options
        return declared
    if kind == "metrics":
        return NoOptions
    functions = (node for node in _tree(kind, name).body if isinstance(node, ast.FunctionDef))
    build = next(function for function in functions if function.name == "build")
    return options_of(build, where=f"wconv_jobs.{kind}.{name}")


def _data_set(name: str) -> Any:
    """Return a `wconv_jobs.data.DataSet`, which lies in a layer above this one."""
    return importlib.import_module(f"wconv_jobs.data.{name}")


@cache
def _tree(kind: Kind, name: str) -> ast.Module:
    return ast.parse((Path(__file__).with_name(kind) / f"{name}.py").read_text(encoding="utf-8"))


def _literal(kind: Kind, name: str, constant: str) -> Any:
    found = _literal_or_none(kind, name, constant)
    if found is None:
        raise TypeError(f"wconv_jobs.{kind}.{name} has no literal {constant}")
    return found


def _literal_or_none(kind: Kind, name: str, constant: str) -> Any:
    for node in _tree(kind, name).body:
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            target = node.target if isinstance(node, ast.AnnAssign) else node.targets[0]
            if ast.unparse(target) == constant:
                return ast.literal_eval(node.value)
    return None
