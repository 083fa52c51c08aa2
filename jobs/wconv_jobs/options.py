"""The options of a network or a data set as a class that checks them, and what is wrong in words.

A data set declares its class. A function gets one from its source text, so that nothing of it
runs: networks import torch, and code of the user's may do anything.
"""

import ast
import difflib
import json
from collections.abc import Iterable, Iterator, Mapping, Set
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model

_TYPES = {t.__name__: t for t in (bool, float, int, list, str, tuple)} | {
    "Annotated": Annotated,
    "Field": Field,
    "Literal": Literal,
}


class NoOptions(BaseModel):
    """What takes no options."""

    model_config = ConfigDict(extra="forbid")


def options_of(
    function: ast.FunctionDef, *, passed: Set[str] = frozenset(), where: str | None = None
) -> type[BaseModel]:
    """Return the class of a function's keyword arguments.

    Args:
        function: its source text.
        passed: arguments that are no options, because the program gives them.
        where: names the function in errors if its annotations say what an option takes; otherwise
            options take anything.

    Raises:
        TypeError: an argument has no annotation.
    """
    fields: dict[str, Any] = {}
    for number, (argument, default) in enumerate(_arguments(function.args)):
        if argument.arg not in passed:
            # Under another name, because pydantic reserves some.
            field = Field(... if default is None else _value(default), alias=argument.arg)
            fields[f"option_{number}"] = (_type_of(argument, where) if where else Any, field)
    extra: Literal["allow", "forbid"] = "allow" if function.args.kwarg else "forbid"
    config = ConfigDict(strict=True, allow_inf_nan=False, extra=extra)
    return create_model("Options", __config__=config, **fields)


def given_options(options: BaseModel) -> dict[str, Any]:
    """Return the options that were given, by name; those left out take the function's default."""
    return options.model_dump(by_alias=True, exclude_unset=True)


def defaults_of(kind: type[BaseModel]) -> dict[str, object]:
    """Return the default of each option by name, None where it is required."""
    fields = kind.model_fields.items()
    return {
        field.alias or name: None if field.is_required() else field.default
        for name, field in fields
    }


def validated(
    name: str, kind: type[BaseModel], options: Mapping[str, object]
) -> tuple[BaseModel | None, list[str]]:
    """Return the options in the types of their class, and one sentence per problem.

    Args:
        name: whose options they are.
        kind: their class.
        options: as a file has them.
    """
    problems = []
    written = {}
    for option, value in options.items():
        try:
            written[option] = json.loads(json.dumps(value))
        except TypeError:
            problems.append(f"{name}: option {option!r} is {value!r}, not a JSON value.")
    try:
        # As JSON, because only then a strict tuple takes the list that YAML makes of it.
        return kind.model_validate_json(json.dumps(written)), problems
    except ValidationError as error:
        return None, [*_sentences(name, kind, options, error), *problems]


def nearest(word: str, known: Iterable[str]) -> str:
    """Return what is known, after the name that may have been meant."""
    listed = sorted(known)
    close = difflib.get_close_matches(word, listed, n=1)
    meant = f"did you mean {close[0]!r}? " if close else ""
    return f"{meant}known: {', '.join(listed)}"


def _arguments(arguments: ast.arguments) -> Iterator[tuple[ast.arg, ast.expr | None]]:
    """Yield each argument with its default, None without one."""
    without = len(arguments.args) - len(arguments.defaults)
    yield from zip(arguments.args, [*[None] * without, *arguments.defaults], strict=True)
    yield from zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)


def _value(default: ast.expr) -> object:
    try:
        return ast.literal_eval(default)
    except (TypeError, ValueError):
        return None  # an expression, which only the function's own code can tell


def _type_of(argument: ast.arg, where: str) -> Any:
    if argument.annotation is None:
        raise TypeError(f"{where}: argument {argument.arg!r} has no annotation")
    # Evaluates this one expression of our own source, with only these names.
    code = compile(ast.Expression(argument.annotation), where, "eval")
    return eval(code, {"__builtins__": {}}, _TYPES)


def _sentences(
    name: str, kind: type[BaseModel], options: Mapping[str, object], error: ValidationError
) -> list[str]:
    """Return what is missing, then what is wrong with each option, then with all together."""
    missing: list[str] = []
    reasons: dict[str, list[str]] = {}
    together: list[str] = []
    for each in error.errors():
        message = each["msg"].removeprefix("Value error, ")
        reason = message[:1].lower() + message[1:]
        match each["type"], each["loc"]:
            case _, ():
                together.append(f"{name}: {reason}.")
            case "missing", (str(option),):
                missing.append(option)
            case _, (option, *_):
                reasons.setdefault(str(option), []).append(reason)
    known = defaults_of(kind)
    sentences = [
        f"{name}: option {option!r} is missing, and it has no default."
        for option in missing
        if option not in options  # else no JSON value
    ]
    for option in options:
        if option in reasons and option in known:
            why = "; ".join(dict.fromkeys(reasons[option]))
            sentences.append(f"{name}: option {option!r} is {options[option]!r}, but {why}.")
        elif option in reasons:
            hint = nearest(option, known) if known else "it takes none"
            sentences.append(f"{name}: unknown option {option!r}; {hint}.")
    return [*sentences, *together]
