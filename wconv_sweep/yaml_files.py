"""YAML files read safely, with the line of every key."""

import re
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from wconv_sweep.errors import ConfigurationError

Location = tuple[int | str, ...]

MAX_KEYS = 100_000
"""Keys and elements of a file. Anchors that name each other can hold billions in a few lines."""


@dataclass(frozen=True)
class Document:
    """The content of a YAML file, with the line of every key."""

    name: str
    """How messages call the file."""
    content: dict[str, Any]
    lines: dict[Location, int]
    origins: dict[Location, str] = field(default_factory=dict)
    """What gave a value that is not in the file, e.g. `--set epochs=1`; holds for all inside it,
    too."""

    def with_value(self, location: Location, value: object, origin: str) -> "Document":
        """Return a document with another value at a place, and all that is around it.

        Args:
            location: of the key; mappings on the way to it are made where they are missing.
            value: plain data.
            origin: how messages call what gave it.
        """
        content = deepcopy(self.content)
        mapping: dict[Any, Any] = content
        given = {location: origin}
        for end, part in enumerate(location[:-1], start=1):
            inner = mapping.get(part)
            if not isinstance(inner, dict):
                # A text in the place of a mapping is its name: `lr_schedule: cosine`.
                inner = mapping[part] = {"name": inner} if isinstance(inner, str) else {}
                given[location[:end]] = origin
            mapping = inner
        mapping[location[-1]] = deepcopy(value)
        kept = {at: line for at, line in self.lines.items() if at[: len(location)] != location}
        around = {location[:end]: 1 for end in range(1, len(location))}
        inside = {(*location, *inner): 1 for inner in _locations(value)}
        return Document(self.name, content, around | kept | inside, self.origins | given)

    def get(self, location: Location) -> object:
        """Return the value at a place; None when there is none."""
        value: Any = self.content
        for part in location:
            value = value.get(part) if isinstance(value, dict) else None
        return value

    def line(self, location: Location) -> int:
        """Return the line of a key, or of the nearest key around it."""
        while location and location not in self.lines:
            location = location[:-1]
        return self.lines.get(location, 1)

    def problem(self, location: Location, text: str) -> str:
        """Return one line that says where in the file what is wrong."""
        key = ".".join(str(part) for part in location)
        origin = self.origin(location)
        if origin is not None:
            return f"{origin}: {key}: {text}"
        return f"{self.name}:{self.line(location)}: {f'{key}: ' if key else ''}{text}"

    def origin(self, location: Location) -> str | None:
        """Return what gave the value at a place; None when the file did."""
        ends = range(len(location), 0, -1)
        return next(
            (self.origins[location[:end]] for end in ends if location[:end] in self.origins), None
        )


def read_document(path: Path, name: str) -> Document:
    """Read a YAML file whose top level is a mapping.

    Args:
        path: the file.
        name: how messages call it.

    Raises:
        ConfigurationError: it cannot be read, is not YAML, repeats a key, or is not a mapping.
    """
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "is not UTF-8 text"
        raise ConfigurationError(f"{name}: cannot be read: {reason}. Check the file.") from error
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        lines: dict[Location, int] = {}
        if node is not None:
            _collect_lines(node, (), lines, name)
        content = loader.construct_document(node) if node is not None else None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f":{mark.line + 1}" if mark else ""
        raise ConfigurationError(
            f"{name}{line}: is not valid YAML: {error.problem}. Correct the file."
        ) from error
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        # Beyond PyYAML's own: dates that do not exist, keys that are lists, endless anchors.
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ConfigurationError(
            f"{name}: is not valid YAML: {reason}. Correct the file."
        ) from error
    if not isinstance(content, dict):
        raise ConfigurationError(
            f"{name}: is not a mapping. Write `key: value` lines at its top level."
        )
    return Document(name, content, lines)


def parse_value(text: str) -> Any:
    """Return the value that a text has in a YAML file.

    Raises:
        ValueError: it is not valid YAML, repeats a key, or holds more than `MAX_KEYS`.
    """
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        # Before anything is made of it: merged anchors alone can take hours, and an anchor inside
        # its own value has no end.
        _collect_lines(node, (), {}, "value")
        return loader.construct_document(node)
    except (yaml.YAMLError, ConfigurationError, ValueError, TypeError, RecursionError) as error:
        raise ValueError(f"is not valid YAML: {' '.join(str(error).split())}") from error
    finally:
        loader.dispose()


_TOO_MANY = f"it holds more than {MAX_KEYS:,} keys and elements, those behind anchors included"


# A program that writes JSON escapes some characters as two halves; YAML does not join them.
_SURROGATE = re.compile(r"[\ud800-\udfff]")
_HALF = r"an escape between \ud800 and \udfff: write the character itself"


_MAX_DIGITS = 100

_TEXT = "tag:yaml.org,2002:str"
_NUMBERS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader, with the numbers of YAML 1.2: 1e-3 is a number, and 16:00 a text."""

    def resolve(self, kind: Any, value: Any, implicit: Any) -> str:
        """Return the tag of a node that has none."""
        tag: str = super().resolve(kind, value, implicit)  # type: ignore[no-untyped-call]
        # YAML 1.1 reads it to the base of 60, as 960.
        return _TEXT if tag in _NUMBERS and ":" in value else tag


# PyYAML follows YAML 1.1, where a float needs a dot and a signed exponent: `3e-3` is a text.
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"),
    list("-+0123456789."),
)


def _locations(value: object) -> Iterator[Location]:
    """Yield the place of a value and of all that is inside it."""
    yield ()
    inside = value.items() if isinstance(value, dict) else ()
    for key, inner in enumerate(value) if isinstance(value, list) else inside:
        for location in _locations(inner):
            yield (key, *location)


def _collect_lines(
    node: yaml.Node, location: Location, lines: dict[Location, int], name: str
) -> None:
    if len(lines) > MAX_KEYS:
        raise ValueError(_TOO_MANY)
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            inner = (*location, key.value)
            if inner in lines:
                raise ConfigurationError(
                    f"{name}:{key.start_mark.line + 1}: {'.'.join(map(str, inner))}: is given "
                    f"twice, first in line {lines[inner]}. Remove one."
                )
            lines[inner] = key.start_mark.line + 1
            _collect_lines(value, inner, lines, name)
    elif isinstance(node, yaml.ScalarNode):
        _check_scalar(node)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            lines[(*location, index)] = value.start_mark.line + 1
            _collect_lines(value, (*location, index), lines, name)


def _check_scalar(node: yaml.ScalarNode) -> None:
    """Refuse what Python can read, but not write."""
    if _SURROGATE.search(node.value):
        raise ValueError(f"line {node.start_mark.line + 1} holds half a character, {_HALF}")
    if node.tag == "tag:yaml.org,2002:int" and len(node.value) > _MAX_DIGITS:
        raise ValueError(
            f"line {node.start_mark.line + 1} holds an integer of more than {_MAX_DIGITS} digits"
        )
