"""Writes the tables of keys and options into the pages, from the code that reads them.

A page asks with a line of its own: `<!-- keys: study -->`, `<!-- keys: local -->`,
`<!-- keys: slurm -->`, `<!-- options: models -->` or `<!-- options: data -->`.
"""

import ast
import importlib
import inspect
import json
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

from pydantic import BaseModel

import wconv_jobs
from wconv_jobs import catalog
from wconv_sweep.clusters.profile import LocalProfile, SlurmProfile
from wconv_sweep.study.config import StudyConfig

_FILES: dict[str, type[BaseModel]] = {
    "study": StudyConfig,
    "local": LocalProfile,
    "slurm": SlurmProfile,
}
Catalog = Literal["models", "data"]

_HOMES = (
    "wconv_jobs.spec",
    "wconv_jobs.recipe.optimizer",
    "wconv_jobs.recipe.lr_schedule",
    "wconv_sweep.study.search_config",
    "wconv_sweep.study.config",
    "wconv_sweep.study.trainer",
    "wconv_sweep.clusters.profile",
    "wconv_sweep.clusters.site_facts",
)
# Keys whose name says nearly all, so that the code has no string under them.
_MEANINGS = {
    "study": "Its name, also of its folder: letters, digits, `_` and `-`, at most 100.",
    "description": "A sentence for the reader.",
    "cluster": "Its name.",
    "recipe.optimizer.name": "The optimizer of `torch.optim`.",
    "recipe.optimizer.lr": "Learning rate at the start.",
    "recipe.optimizer.momentum": "0 has none.",
    "recipe.optimizer.nesterov": "Nesterov's variant; needs a momentum above 0.",
    "recipe.optimizer.betas": "Decay of the two running means.",
    "recipe.optimizer.eps": "Added to the denominator.",
    "recipe.optimizer.weight_decay": "Decoupled for `adamw`, added to the gradient otherwise.",
    "recipe.lr_schedule.name": "See [learning-rate schedules](#learning-rate-schedules).",
    "recipe.epochs": "Each ends with a validation, a report and a checkpoint.",
    "recipe.label_smoothing": "For classification; denoising takes 0 only.",
    "search.sampler.name": "See [samplers](#samplers).",
    "search.pruner.name": "See [pruners](#pruners).",
}
_REQUEST = re.compile(r"^<!-- (keys|options): (study|local|slurm|models|data) -->$", re.MULTILINE)


def on_page_markdown(markdown: str, **_: object) -> str:
    """Return a page with every request replaced by its table; called by MkDocs."""
    return _REQUEST.sub(lambda found: _answer(found[1], found[2]), markdown)


def keys(model: type[BaseModel]) -> Iterator[tuple[str, str, str, str]]:
    """Yield (dotted key, what it takes, default, meaning) of every key of a file."""
    schema = model.model_json_schema(by_alias=True)
    yield from _keys_of(schema, schema, "", model.__name__, _module_of(model))


def options(kind: Catalog, name: str) -> Iterator[tuple[str, str, str, str]]:
    """Yield (option, what it takes, default, meaning) of a network or a data set."""
    if kind == "data":
        yield from keys(importlib.import_module(f"wconv_jobs.data.{name}").Options)
        return
    builder = _builder(name)
    meanings = _argument_meanings(ast.get_docstring(builder) or "")
    arguments = zip(builder.args.kwonlyargs, builder.args.kw_defaults, strict=True)
    for argument, default in arguments:
        assert argument.annotation is not None
        yield (
            argument.arg,
            _annotation_text(argument.annotation),
            "required" if default is None else _code(json.dumps(ast.literal_eval(default))),
            meanings[argument.arg][:1].upper() + meanings[argument.arg][1:],
        )


def field_meanings(name: str) -> dict[str, str]:
    """Return what the code says below each field of a class that files are read with."""
    return _field_meanings(name, _home(name))


def _answer(what: str, name: str) -> str:
    if what == "keys":
        return _table("key", keys(_FILES[name]))
    kind: Catalog = "models" if name == "models" else "data"
    parts = []
    for each in catalog.names(kind):
        summary = inspect.cleandoc(ast.get_docstring(_tree(kind, each)) or "").splitlines()[0]
        parts.append(f"### `{each}`\n\n{summary}\n\n{_table('option', options(kind, each))}")
    return "\n\n".join(parts)


def _table(first: str, rows: Iterator[tuple[str, str, str, str]]) -> str:
    lines = [f"| {first} | takes | default | meaning |", "|---|---|---|---|"]
    for name, takes, default, meaning in rows:
        lines.append(f"| `{name}` | {takes} | {default} | {meaning.replace('|', '&#124;')} |")
    return "\n".join(lines)


# The keys of a file ----------------------------------------------------------------------------


def _keys_of(
    root: dict[str, Any], schema: dict[str, Any], prefix: str, name: str, module: ModuleType
) -> Iterator[tuple[str, str, str, str]]:
    meanings = _field_meanings(name, module)
    required = schema.get("required", [])
    for key, value in schema["properties"].items():
        dotted = f"{prefix}{key}"
        meaning = meanings.get(key, "")
        variants = [option for option in value.get("oneOf", []) if "$ref" in option]
        optional = [option for option in value.get("anyOf", []) if "$ref" in option]
        if optional:
            inner = _name_of(optional[0])
            yield dotted, "the keys below, or null", _default(key, value, required), meaning
            definition = _resolved(root, optional[0])
            yield from _keys_of(root, definition, f"{dotted}.", inner, _home(inner))
        elif _entries(root, value):
            # Of a mapping from names, or of a list.
            inner = _name_of(_entries(root, value))
            yield dotted, _takes_entries(value), _default(key, value, required), meaning
            definition = _resolved(root, _entries(root, value))
            place = f"{dotted}.NAME." if value["type"] == "object" else f"{dotted}.N."
            yield from _keys_of(root, definition, place, inner, _home(inner))
        elif "$ref" in value and "properties" in _resolved(root, value):
            inner = _name_of(value)
            meaning = meaning or _class_meaning(inner)
            yield dotted, "the keys below", _default(key, value, required), meaning
            definition = _resolved(root, value)
            yield from _keys_of(root, definition, f"{dotted}.", inner, _home(inner))
        elif variants:
            meaning = meaning or f"One of {_either(root, variants)}; `name` chooses."
            yield dotted, "the keys below", _default(key, value, required), meaning
            yield from _keys_of_variants(root, variants, dotted)
        else:
            meaning = meaning or _MEANINGS.get(dotted, "")
            yield dotted, _takes(value), _default(key, value, required), meaning


def _keys_of_variants(
    root: dict[str, Any], variants: list[dict[str, Any]], prefix: str
) -> Iterator[tuple[str, str, str, str]]:
    """Yield the keys of all variants together, each with the names that it belongs to."""
    takes: dict[str, tuple[str, str]] = {}
    meanings: dict[str, str] = {}
    belongs: dict[str, list[str]] = {}
    for variant in variants:
        definition, inner = _resolved(root, variant), _name_of(variant)
        chosen = _plain_takes(definition["properties"]["name"]).replace('"', "")
        for key, what, default, meaning in _keys_of(root, definition, "", inner, _home(inner)):
            dotted = f"{prefix}.{key}"
            if key == "name":
                what = ", ".join([*takes.get(dotted, ("",))[:1], what]).strip(", ")
            if key == "name" or dotted not in takes:
                takes[dotted] = what, default
            meanings.setdefault(dotted, meaning or _MEANINGS.get(dotted, ""))
            belongs.setdefault(dotted, []).append(chosen)
    for dotted, (what, default) in takes.items():
        partly = len(belongs[dotted]) < len(variants)
        limit = f" Only {', '.join(belongs[dotted])}." if partly else ""
        yield dotted, what, default, meanings[dotted] + limit


def _either(root: dict[str, Any], variants: list[dict[str, Any]]) -> str:
    names = [_plain_takes(_resolved(root, each)["properties"]["name"]) for each in variants]
    return ", ".join(names).replace('"', "")


def _entries(root: dict[str, Any], value: dict[str, Any]) -> dict[str, Any]:
    """Return what a mapping from names or a list holds, where that has keys of its own."""
    forms = [form for form in _forms(value) if "$ref" in form]
    if len(forms) != 1:
        return {}
    return forms[0] if "properties" in _resolved(root, forms[0]) else {}


def _forms(value: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the forms that an entry of a mapping from names or of a list may have."""
    # Names that must match a pattern stand under that pattern.
    by_pattern = next(iter(value.get("patternProperties", {}).values()), None)
    inner = by_pattern or value.get("additionalProperties") or value.get("items")
    if not isinstance(inner, dict):
        return []
    forms: list[dict[str, Any]] = inner.get("oneOf", [inner])
    return forms


def _takes_entries(value: dict[str, Any]) -> str:
    if value["type"] != "object":
        return "list of the keys below"
    short = [_plain_takes(form) for form in _forms(value) if "$ref" not in form]
    return f"mapping from name to {' or '.join([*short, 'the keys below'])}"


def _takes(value: dict[str, Any]) -> str:
    choices = value.get("anyOf")
    if choices:
        return " or ".join(_plain_takes(choice) for choice in choices)
    return _plain_takes(value)


def _plain_takes(value: dict[str, Any]) -> str:
    if "const" in value:
        return _code(json.dumps(value["const"]))
    if "enum" in value:
        return ", ".join(_code(json.dumps(choice)) for choice in value["enum"])
    kind = value.get("type", "value")
    if kind == "array":
        if "prefixItems" in value:
            return f"list of {len(value['prefixItems'])} {_plural(value['prefixItems'][0])}"
        return f"list of {_plural(value['items'])}"
    if kind == "object":
        inner: dict[str, Any] = value.get("additionalProperties") or next(
            iter(value.get("patternProperties", {}).values()), {"anyOf": []}
        )
        return f"mapping from name to {_mapped(inner)}"
    if "pattern" in value:
        return "name"
    text = {"integer": "integer", "number": "number", "string": "text", "boolean": "true or false"}
    limits = [
        f"{word} {value[limit]:g}"
        for limit, word in (
            ("exclusiveMinimum", "above"),
            ("minimum", "at least"),
            ("exclusiveMaximum", "below"),
            ("maximum", "at most"),
        )
        if limit in value
    ]
    return " ".join([text.get(kind, kind), " and ".join(limits)]).strip()


def _plural(value: dict[str, Any]) -> str:
    if value.get("type") == "array":
        return "[low, high] pairs"
    return {"integer": "integers", "number": "numbers"}.get(value.get("type", ""), "values")


def _mapped(value: dict[str, Any]) -> str:
    return "value" if "anyOf" in value else _plain_takes(value)


def _default(key: str, value: dict[str, Any], required: list[str]) -> str:
    if key in required:
        return "required"
    if "default" in value and "$ref" not in value:
        return _code(json.dumps(value["default"]))
    if "$ref" in value:
        return "see below"
    return _code("[]" if value.get("type") == "array" else "{}")


def _code(text: str) -> str:
    return f"`{text}`"


def _resolved(root: dict[str, Any], value: dict[str, Any]) -> dict[str, Any]:
    definition: dict[str, Any] = root["$defs"][_name_of(value)]
    return definition


def _name_of(value: dict[str, Any]) -> str:
    return str(value["$ref"]).rpartition("/")[2]


# The meanings, from the source text ------------------------------------------------------------


def _module_of(model: type[BaseModel]) -> ModuleType:
    return importlib.import_module(model.__module__)


def _home(name: str) -> ModuleType:
    """Return the module that defines a class of the schema."""
    for module in _HOMES:
        found = getattr(importlib.import_module(module), name, None)
        if found is not None:
            return importlib.import_module(found.__module__)
    raise LookupError(f"{name} is in none of the modules that define files")


def _class_meaning(name: str) -> str:
    return _sentence(inspect.getdoc(getattr(_home(name), name)) or "")


def _field_meanings(name: str, module: ModuleType) -> dict[str, str]:
    """Return the string that stands under each field of a class and of those it extends."""
    tree = ast.parse(inspect.getsource(module))
    classes = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}
    found: dict[str, str] = {}
    for base in classes[name].bases:
        if isinstance(base, ast.Name) and base.id in classes:
            found |= _field_meanings(base.id, module)
    for field, below in pairwise(classes[name].body):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
            text = _string(below)
            if text:
                found[field.target.id.rstrip("_")] = _sentence(text)
    return found


def _string(node: ast.stmt) -> str | None:
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        value = node.value.value
        return value if isinstance(value, str) else None
    return None


def _sentence(text: str) -> str:
    return " ".join(inspect.cleandoc(text).split())


# The options of networks ----------------------------------------------------------------------


def _tree(kind: str, name: str) -> ast.Module:
    path = Path(wconv_jobs.__file__).parent / kind / f"{name}.py"
    return ast.parse(path.read_text("utf-8"))


def _builder(name: str) -> ast.FunctionDef:
    return next(
        node
        for node in _tree("models", name).body
        if isinstance(node, ast.FunctionDef) and node.name == "build"
    )


def _argument_meanings(docstring: str) -> dict[str, str]:
    section = re.search(r"^Args:\n((?:[ ]{4}.*\n?|\n)+)", docstring, re.MULTILINE)
    entries = re.findall(
        r"^    (\w+): (.*(?:\n {8}.*)*)", section[1] if section else "", re.MULTILINE
    )
    return {name: _sentence(text) for name, text in entries}


def _annotation_text(node: ast.expr) -> str:
    if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name):
        inner = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        if node.value.id == "Literal":
            return ", ".join(_code(json.dumps(ast.literal_eval(each))) for each in inner)
        if node.value.id == "Annotated":
            words = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}
            field = inner[1]
            assert isinstance(field, ast.Call)
            limits = [
                f"{words[limit.arg or '']} {ast.literal_eval(limit.value)}"
                for limit in field.keywords
            ]
            return f"{_annotation_text(inner[0])} {' and '.join(limits)}"
    names = {"int": "integer", "float": "number", "str": "text", "bool": "true or false"}
    return names.get(ast.unparse(node), _code(ast.unparse(node)))
