"""The names that a study can use: models, data sets and metrics, with the options of each.

Names are the modules of a package, options the keyword arguments of its builder, read from the
source text: a login node can check a study without importing torch. `wconv_jobs.models`,
`wconv_jobs.data` and `wconv_jobs.metrics` use the same check, so there is one wording.
"""

import ast
import difflib
import importlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from wconv_jobs import own_code
from wconv_jobs.errors import JobError
from wconv_jobs.kinds import TaskKind

Kind = Literal["models", "data", "metrics"]

Progress = Callable[[int, int], None]
"""Called with (done, of how many) while a data set is prepared."""


def names(kind: Kind) -> tuple[str, ...]:
    """Return the known names of a kind in alphabetical order; private modules are left out."""
    modules = Path(__file__).with_name(kind).glob("*.py")
    return tuple(sorted(module.stem for module in modules if not module.stem.startswith("_")))


def check_options(kind: Kind, name: str, options: Mapping[str, object]) -> list[str]:
    """Return one sentence per problem with a name or its options; empty when all is well."""
    return _check(kind, name, options)[1]


def checked_options(kind: Kind, name: str, options: Mapping[str, object]) -> dict[str, Any]:
    """Return the options in the types of the builder, e.g. 25 as 25.0.

    Raises:
        JobError: `check_options` finds problems; the message holds them all.
    """
    values, problems = _check(kind, name, options)
    if problems:
        raise JobError("\n".join(f"{kind}: {problem}" for problem in problems))
    return values


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
        problems = _module_of_data(name).check(thorough=thorough, **values)
    return [str(problem) for problem in problems]


def prepare_data(name: str, options: Mapping[str, object], on_progress: Progress) -> None:
    """Convert a data set to the form that training reads, unless that is done; idempotent.

    Raises:
        JobError: an option is wrong, or the files cannot be used.
    """
    if own_code.is_own(name):
        return
    values = checked_options("data", name, options)
    if _function(_tree("data", name), "prepare") is not None:
        _module_of_data(name).prepare(on_progress=on_progress, **values)


def data_checksums(name: str, options: Mapping[str, object]) -> dict[str, str]:
    """Return checksums that detect a changed data set: SHA-256 by the name of the summed content.

    These are the sums that are known without reading the data, see `checksums` of the data set.
    Synthetic and bundled data, and functions of the user's, have none.

    Raises:
        JobError: an option is wrong, or the files cannot be used.
    """
    if own_code.is_own(name):
        return {}
    values = checked_options("data", name, options)
    if _function(_tree("data", name), "checksums") is None:
        return {}
    sums: dict[str, str] = _module_of_data(name).checksums(**values)
    return sums


def generate_data(name: str, folder: Path) -> None:
    """Write small synthetic data in the file format of a data set that reads files.

    Every call writes the same files.
    """
    _module_of_data(name).generate(folder)


def reads_files(name: str) -> bool:
    """Return whether a data set reads the user's files, in its option `folder`."""
    return not own_code.is_own(name) and _function(_tree("data", name), "check") is not None


def sample_shape(name: str, options: Mapping[str, object]) -> tuple[int, int, int]:
    """Return (channels, height, width) of one training sample of a known data set.

    Raises:
        JobError: an option is wrong.
    """
    shape: tuple[int, int, int] = _module_of_data(name).sample_shape(
        **checked_options("data", name, options)
    )
    return shape


def data_kind(name: str, own: TaskKind | None = None) -> TaskKind:
    """Return the kind of task of a data set.

    Args:
        name: a known one, or a function of the user's.
        own: of such a function.
    """
    if own_code.is_own(name):
        return own or "denoising"
    kind: TaskKind = _literal("data", name, "KIND")
    return kind


def smoke_options(kind: Kind, name: str) -> dict[str, Any]:
    """Return the options that make a known model or data set small enough for a smoke run."""
    # As in a file: lists instead of tuples.
    options: dict[str, Any] = json.loads(json.dumps(_literal(kind, name, "SMOKE")))
    return options


def metric_goal(name: str) -> Literal["maximize", "minimize"]:
    """Return whether more or less of a known metric is better."""
    goal: Literal["maximize", "minimize"] = _literal("metrics", name, "GOAL")
    return goal


def default_of(kind: Kind, name: str, option: str) -> object:
    """Return the default of an option; None when a known name has no such option."""
    builder = _builder(kind, name)
    for argument, default in zip(builder.args.kwonlyargs, builder.args.kw_defaults, strict=True):
        if argument.arg == option and default is not None:
            value: object = ast.literal_eval(default)
            return value
    return None


def smoke_classes(name: str) -> int | None:
    """Return the number of classes of a known data set's synthetic data; None where it is that of
    the real ones."""
    classes: int | None = _literal_or_none("data", name, "SMOKE_CLASSES")
    return classes


def has_option(kind: Kind, name: str, option: str) -> bool:
    """Return whether a known name takes an option."""
    return option in _options(kind, name)


@dataclass(frozen=True)
class _Option:
    adapter: TypeAdapter[Any]
    required: bool


_BUILDERS: dict[Kind, str] = {"models": "build", "data": "load", "metrics": "build"}
# The loading code passes these; a study does not.
_NOT_OPTIONS = {"seed", "device"}
_STRICT = ConfigDict(strict=True, allow_inf_nan=False)
_TYPES = {t.__name__: t for t in (bool, float, int, list, str, tuple)} | {
    "Annotated": Annotated,
    "Field": Field,
    "Literal": Literal,
}


def _check(
    kind: Kind, name: str, options: Mapping[str, object]
) -> tuple[dict[str, Any], list[str]]:
    known = names(kind)
    if own_code.is_own(name):
        passed = _NOT_OPTIONS if kind == "data" else set()
        return dict(options), own_code.problems(name, options, passed)
    if name not in known:
        return {}, [f"unknown name {name!r}; {_nearest(name, known)}."]
    taken = _options(kind, name)
    values: dict[str, Any] = {}
    problems = [
        f"{name}: option {option!r} is missing, and it has no default."
        for option in taken
        if taken[option].required and option not in options
    ]
    for option, value in options.items():
        if option not in taken:
            hint = _nearest(option, taken) if taken else "it takes none"
            problems.append(f"{name}: unknown option {option!r}; {hint}.")
            continue
        try:
            # As JSON, because only then a strict tuple takes the list that YAML makes of it.
            values[option] = taken[option].adapter.validate_json(json.dumps(value))
        except ValidationError as error:
            reason = "; ".join(dict.fromkeys(_lower(each["msg"]) for each in error.errors()))
            problems.append(f"{name}: option {option!r} is {value!r}, but {reason}.")
        except TypeError:
            problems.append(f"{name}: option {option!r} is {value!r}, not a JSON value.")
    return values, problems


def _lower(message: str) -> str:
    return message[:1].lower() + message[1:]


def _nearest(word: str, known: Iterable[str]) -> str:
    listed = sorted(known)
    close = difflib.get_close_matches(word, listed, n=1)
    meant = f"did you mean {close[0]!r}? " if close else ""
    return f"{meant}known: {', '.join(listed)}"


@cache
def _tree(kind: Kind, name: str) -> ast.Module:
    return ast.parse((Path(__file__).with_name(kind) / f"{name}.py").read_text(encoding="utf-8"))


def _function(tree: ast.Module, name: str) -> ast.FunctionDef | None:
    functions = (node for node in tree.body if isinstance(node, ast.FunctionDef))
    return next((function for function in functions if function.name == name), None)


def _module_of_data(name: str) -> Any:
    return importlib.import_module(f"wconv_jobs.data.{name}")


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


def _builder(kind: Kind, name: str) -> ast.FunctionDef:
    builder = _function(_tree(kind, name), _BUILDERS[kind])
    if builder is None:
        raise TypeError(f"wconv_jobs.{kind}.{name} has no function {_BUILDERS[kind]!r}")
    return builder


@cache
def _options(kind: Kind, name: str) -> dict[str, _Option]:
    builder = _builder(kind, name)
    arguments = zip(builder.args.kwonlyargs, builder.args.kw_defaults, strict=True)
    return {
        argument.arg: _Option(_adapter(argument, f"{kind}.{name}"), required=default is None)
        for argument, default in arguments
        if argument.arg not in _NOT_OPTIONS
    }


def _adapter(argument: ast.arg, where: str) -> TypeAdapter[Any]:
    if argument.annotation is None:
        raise TypeError(f"wconv_jobs.{where}: argument {argument.arg!r} has no annotation")
    # Evaluates this one expression of our own source, with only these names.
    code = compile(ast.Expression(argument.annotation), where, "eval")
    return TypeAdapter(eval(code, {"__builtins__": {}}, _TYPES), config=_STRICT)
