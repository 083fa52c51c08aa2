"""Documents checked against a model: every problem with its line, its value and its remedy."""

import difflib
import typing
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from wconv_jobs.spec_base import Spec
from wconv_sweep.errors import ConfigurationError
from wconv_sweep.renamed_keys import new_name
from wconv_sweep.yaml_files import Document, Location

_Model = TypeVar("_Model", bound=Spec)


def validate(document: Document, model: type[_Model]) -> _Model:
    """Return the document as a `model`.

    Raises:
        ConfigurationError: with every problem found, each with file, line, key, value and remedy.
    """
    try:
        return model.model_validate(document.content)
    except ValidationError as error:
        problems: dict[Location, str] = {}
        errors = list(_without_renamed(error.errors()))
        for details in errors:
            location = _without_tags(document, details)
            # The name of a key and its value can be wrong both.
            at = (*location, _KEY) if details["loc"][-1:] == (_KEY,) else location
            # A value that fits no alternative gives one error for each of them.
            problems[at] = (
                _describe(document, model, details, location)
                if at not in problems
                else document.problem(
                    location,
                    f"{_alternatives(details, errors)} (it is {_shown(details['input'])})",
                )
            )
        # Of a list that fits no alternative, its elements are named, too.
        outermost = [
            problem
            for at, problem in problems.items()
            if _KEY in at or not any(at[:end] in problems for end in range(len(at)))
        ]
        raise ConfigurationError(outermost) from error


def keys_of(model: type[BaseModel]) -> Iterator[Location]:
    """Yield the location of every key that a file of this model may hold."""
    for name, info in model.model_fields.items():
        key = info.alias or name
        yield (key,)
        # Between a mapping and what it holds by name stands a name of the user's.
        inner = [] if typing.get_origin(info.annotation) is dict else _models_in(info.annotation)
        for one in inner:
            for location in keys_of(one):
                yield (key, *location)


def did_you_mean(word: str, known: Collection[str]) -> str | None:
    """Return the question about the known word that this one looks like, or is another name of;
    None when there is none."""
    other = _OTHER_NAMES.get(word.lower())
    near = [other] if other in known else difflib.get_close_matches(word, known, n=1)
    return f"Did you mean '{near[0]}'?" if near else None


_KEY = "[key]"
"""Ends the location of what pydantic says about the name of a key."""

# What other programs call our keys, where the letters alone do not lead there.
_OTHER_NAMES = {
    "bs": "batch_size",
    "grad_clip": "clip_grad_norm",
    "learning_rate": "lr",
    "max_grad_norm": "clip_grad_norm",
    "num_epochs": "epochs",
    "precision": "dtype",
    "queue": "partition",
    "scheduler": "lr_schedule",
    "time_limit": "walltime_min",
    "wd": "weight_decay",
}

_SHOWN_CHARACTERS = 200
_MAPPING = "must hold `key: value` lines"
_ANY_CHOICE = "takes true or false, a number or a text"
_ANY_OPTION = "takes true or false, a number, a text, or a list of them"
_KEYS_ARE_TEXTS = "keys must be texts: write this one in quotes"

# By the types of pydantic's errors that our models can raise; what pydantic says itself is about
# its own things: inputs, tags, dictionaries, instances of a class.
_SENTENCES: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "bool_type": lambda _: "must be true or false",
    "date_type": lambda _: "must be a date, such as 2026-01-31",
    "dict_type": lambda _: _MAPPING,
    "finite_number": lambda _: "must be a finite number",
    "float_type": lambda _: "must be a number",
    "greater_than": lambda limit: f"must be greater than {limit['gt']:g}",
    "greater_than_equal": lambda limit: f"must be at least {limit['ge']:g}",
    "int_parsing_size": lambda _: "must be an integer of fewer digits",
    "int_type": lambda _: "must be an integer",
    "invalid-json-value": lambda _: f"{_ANY_OPTION}, or `key: value` lines",
    "invalid_key": lambda _: _KEYS_ARE_TEXTS,
    "less_than": lambda limit: f"must be less than {limit['lt']:g}",
    "less_than_equal": lambda limit: f"must be at most {limit['le']:g}",
    "list_type": lambda _: "must be a list",
    "literal_error": lambda known: f"must be {known['expected']}",
    "missing": lambda _: "is required, but missing",
    "model_attributes_type": lambda _: _MAPPING,
    "model_type": lambda _: _MAPPING,
    "string_too_short": lambda _: "must not be empty",
    "string_type": lambda _: "must be a text; write a number or a date in quotes",
    "too_long": lambda n: f"has {n['actual_length']} elements, but takes {n['max_length']}",
    "too_short": lambda n: f"has {n['actual_length']} elements, but needs {n['min_length']}",
    "tuple_type": lambda _: "must be a list",
    "value_error": lambda cause: str(cause["error"]),
}


def first_problem(error: ValidationError) -> str:
    """Return what is wrong with data that no file holds, without place and value."""
    details = error.errors()[0]
    kind = details["type"]
    if kind == "extra_forbidden":
        return f"it takes no key {details['loc'][-1]}, which the study has"
    return _SENTENCES[kind](details.get("ctx", {})) if kind in _SENTENCES else details["msg"]


def _without_renamed(errors: Sequence[ErrorDetails]) -> Iterator[ErrorDetails]:
    """Leave out that a key is missing which is there under its old name."""
    there = {new_name(each["loc"]) for each in errors if each["type"] == "extra_forbidden"}
    for each in errors:
        if each["type"] != "missing" or ".".join(map(str, each["loc"])) not in there:
            yield each


def _alternatives(details: ErrorDetails, errors: Sequence[ErrorDetails]) -> str:
    """Return what a value may be that fits none of several types, one of which may be a list."""
    *at, _ = details["loc"]
    tags = (each["loc"][len(at)] for each in errors if [*each["loc"][: len(at)]] == at)
    return _ANY_OPTION if any(str(tag).startswith("list[") for tag in tags) else _ANY_CHOICE


def _describe(
    document: Document, model: type[BaseModel], details: ErrorDetails, location: Location
) -> str:
    """Return the line that a user reads about one error of pydantic's."""
    kind, context = details["type"], details.get("ctx", {})
    if kind == "extra_forbidden":
        renamed = new_name(location)
        if renamed is not None and tuple(renamed.split(".")) in keys_of(model):
            return document.problem(location, f"is now {renamed}. Rename the key.")
        key, known = str(details["loc"][-1]), _known_keys(model, details["loc"][:-1])
        remedy = did_you_mean(key, known) or f"Known keys: {', '.join(known)}."
        return document.problem(location, f"is not a known key. {remedy}")
    if kind in ("union_tag_invalid", "union_tag_not_found"):
        discriminator = context["discriminator"].strip("'")
        choices = [tag for one in _models_at(model, details["loc"]) for tag in _tags(one)]
        text = _unknown_choice(details["input"].get(discriminator), sorted(choices))
        return document.problem((*location, discriminator), text)
    if kind == "string_type" and details["loc"][-1:] == (_KEY,):
        text = _KEYS_ARE_TEXTS
    else:
        text = _SENTENCES[kind](context) if kind in _SENTENCES else details["msg"]
    value = details["input"]
    is_shown = kind not in ("missing", "secret") and isinstance(
        value, str | int | float | bool | list | None
    )
    return document.problem(location, f"{text} (it is {_shown(value)})" if is_shown else text)


def _unknown_choice(value: object, known: Collection[str]) -> str:
    listed = f"Known: {', '.join(known)}."
    if value is None:
        return f"is required, but missing. {listed}"
    meant = did_you_mean(value, known) if isinstance(value, str) else None
    return f"there is no {_shown(value)}. {f'{meant} {listed}' if meant else listed}"


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}…"


def _without_tags(document: Document, details: ErrorDetails) -> Location:
    """Drop what pydantic adds to a location beyond the keys of the file: the tags of unions."""
    location = details["loc"]
    kept: Location = ()
    for part in details["loc"]:
        if (*kept, part) in document.lines:
            kept = (*kept, part)
    if not location or kept[-1:] == location[-1:]:
        return kept
    # Neither a missing key nor one of an anchor that is merged in has a line of its own.
    inside = _at(document.content, kept)
    is_key = details["type"] in ("missing", "invalid_key") or (
        isinstance(inside, dict) and location[-1] in inside
    )
    return (*kept, location[-1]) if is_key else kept


def _at(content: Any, location: Location) -> Any:
    for part in location:
        content = content[part]
    return content


def _known_keys(model: type[BaseModel], location: Location) -> list[str]:
    """Return the keys that the mapping at `location` takes."""
    return sorted(
        {
            info.alias or name
            for one in _models_at(model, location)
            for name, info in one.model_fields.items()
        }
    )


def _models_at(model: type[BaseModel], location: Location) -> list[type[BaseModel]]:
    """Return the models of which the mapping at `location` has to be one."""
    current: list[type[BaseModel]] = [model]
    for part in location:
        inner = [
            candidate
            for one in current
            for name, info in one.model_fields.items()
            if part in (name, info.alias)
            for candidate in _models_in(info.annotation)
        ]
        # A part that is not a field is the tag of a union: `adam` chooses among the candidates.
        tagged = [one for one in current if part in _tags(one)]
        current = inner or tagged or current
    return current


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [found for inner in typing.get_args(annotation) for found in _models_in(inner)]


def _tags(model: type[BaseModel]) -> tuple[str, ...]:
    name = model.model_fields.get("name")
    return typing.get_args(name.annotation) if name is not None else ()
