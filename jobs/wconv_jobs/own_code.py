"""The user's own networks and data sets: a study names them as `package.module:function`.

A study that names a function is as trusted as the function: to train it is to run the code.
Importing this module does not import torch, and `problems` reads a function's source text only, so
that a login node can check a study. It imports the packages that hold the module, as Python does.
"""

import ast
import difflib
import importlib
import importlib.util
import inspect
import multiprocessing
import re
import sys
import sysconfig
import traceback
from collections.abc import Callable, Iterator, Mapping, Set
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from wconv_jobs.errors import JobError
from wconv_jobs.options import options_of, validated

_NAME = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*:[A-Za-z_]\w*", re.ASCII)


def is_own(name: str) -> bool:
    """Return whether a name means a function of the user's, not a part of the program."""
    return ":" in name


def add_folder(folder: Path | None) -> None:
    """Make modules in a folder importable from now on; None adds nothing.

    Last in the order of the search: a file called `random.py` must not take the place of Python's.
    """
    if folder is not None and str(folder) not in sys.path:
        sys.path.append(str(folder))


@contextmanager
def folder_added(folder: Path | None) -> Iterator[None]:
    """Make modules in a folder importable inside the block."""
    before = list(sys.path)
    add_folder(folder)
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path[:] = before


def problems(
    name: str, options: Mapping[str, object], passed: Set[str] = frozenset()
) -> list[str]:
    """Return one sentence per problem with a function's name or its options.

    Args:
        name: as the study names it.
        options: its keyword arguments.
        passed: keyword arguments that the program gives it, where it takes them.
    """
    if _NAME.fullmatch(name) is None:
        return [f"{name!r}: a function of your own is named package.module:function."]
    module, _, function = name.partition(":")
    try:
        with _as_in_a_program(module):
            spec = importlib.util.find_spec(module)
    except (Exception, SystemExit) as error:  # the user's code may raise anything
        return [f"{name}: module {module} cannot be imported: {words(error)}."]
    if spec is None:
        return [
            f"{name}: there is no module {module}. Install it, or name the folder that holds it "
            "with the study's key `code`."
        ]
    if spec.origin is None or not spec.origin.endswith(".py"):
        return []  # a compiled module; the call will show
    try:
        tree = ast.parse(Path(spec.origin).read_bytes(), spec.origin)
    except (OSError, SyntaxError, ValueError) as error:
        return [f"{name}: {spec.origin} cannot be read as Python: {error}."]
    found = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    if function in found:
        return _option_problems(name, found[function], options, passed)
    if any(function in _bound(node) for node in tree.body):
        return []  # a class, an import, an assignment: the call will show
    near = difflib.get_close_matches(function, found, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"it has: {', '.join(found) or 'none'}."
    return [f"{name}: {spec.origin} has no function {function!r}; {hint}"]


def call(name: str, options: Mapping[str, object], passed: Mapping[str, object]) -> Any:
    """Return the result of a function.

    Args:
        name: as the study names it.
        options: its keyword arguments.
        passed: further ones, each of them given if the function has an argument of this name.

    Raises:
        JobError: it cannot be found, does not take the options, or ends the program.
        Exception: whatever it raises.
    """
    found = problems(name, options, passed.keys())
    if found:
        raise JobError("\n".join(found))
    module, _, function_name = name.partition(":")
    try:
        with _as_in_a_program(module):
            return _called(module, function_name, name, options, passed)
    except SystemExit as error:
        raise JobError(
            f"{name} has ended the program ({words(error)}). Let it return, or raise an error."
        ) from error


def words(error: BaseException) -> str:
    """Return the first line of what an exception of the user's code says, and where it arose."""
    if isinstance(error, SystemExit):
        said = f"exit status {error.code or 0}" if _is_status(error.code) else str(error.code)
    else:
        lines = str(error).strip().splitlines()
        said = f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
    said = said.rstrip(".")
    frames = traceback.extract_tb(error.__traceback__)
    outside = [frame for frame in frames if not _is_installed(frame.filename)]
    if not outside:
        return said
    return f"{said} [{Path(outside[-1].filename).name}, line {outside[-1].lineno}]"


def _is_status(code: object) -> bool:
    return code is None or isinstance(code, int)


def _is_installed(filename: str) -> bool:
    """Return whether a file belongs to this program, to a package, or to Python."""
    path = Path(filename)
    package = Path(__file__).parent
    return (
        "site-packages" in path.parts
        or package in path.parents
        or not path.is_absolute()
        or Path(sysconfig.get_path("stdlib")) in path.parents
    )


def _called(
    module: str,
    function_name: str,
    name: str,
    options: Mapping[str, object],
    passed: Mapping[str, object],
) -> Any:
    function: Callable[..., Any] | None = getattr(
        importlib.import_module(module), function_name, None
    )
    if not callable(function):
        raise JobError(f"{name}: there is no such function. Correct the name.")
    taken = inspect.signature(function).parameters
    given = {key: value for key, value in passed.items() if key in taken}
    return function(**options, **given)


@contextmanager
def _as_in_a_program(module: str) -> Iterator[None]:
    """Show the user's code the process as a program of its own would see it.

    Without arguments, since a module may parse them when it is imported; and with no way of
    starting processes chosen yet, since it may choose one.
    """
    arguments, method = sys.argv, multiprocessing.get_start_method(allow_none=True)
    sys.argv = [module]
    multiprocessing.set_start_method(None, force=True)
    try:
        yield
    finally:
        sys.argv = arguments
        if multiprocessing.get_start_method(allow_none=True) is None:
            multiprocessing.set_start_method(method, force=True)


def _option_problems(
    name: str, function: ast.FunctionDef, options: Mapping[str, object], passed: Set[str]
) -> list[str]:
    given = {option: value for option, value in options.items() if option not in passed}
    _, problems = validated(name, options_of(function, passed=passed), given)
    taken = (option for option in options if option in passed)
    return [*problems, *(f"{name}: option {each!r} is given by the program." for each in taken)]


def _bound(node: ast.stmt) -> set[str]:
    """Return the names that a statement at the top of a module binds, if it is a simple one."""
    if isinstance(node, ast.ClassDef):
        return {node.name}
    if isinstance(node, ast.Import | ast.ImportFrom):
        return {alias.asname or alias.name for alias in node.names}
    if isinstance(node, ast.Assign):
        return {target.id for target in node.targets if isinstance(target, ast.Name)}
    return set()
