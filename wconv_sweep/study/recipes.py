"""The recipes by name, `recipe.preset`: files in studies/recipes that fill in what a study leaves
out."""

from typing import Any, get_args

from wconv_jobs import catalog
from wconv_jobs.kinds import TaskKind
from wconv_jobs.spec import Preset
from wconv_sweep.study import resources
from wconv_sweep.yaml_files import Document, Location, read_document


def fill_in_recipe(document: Document) -> Document:
    """Return a study's document with what it leaves to its preset; as it is without one.

    A preset has values for `recipe`, and some for `data.options`, which are taken where the data
    set has such an option. What the study says itself stands. Of a mapping, such as the optimizer,
    single keys are filled in as long as the study does not name another one.

    Where preset or data are unknown, any recipe is filled in: validation names what is wrong, and
    nothing that the right recipe would have given.
    """
    preset, data = document.get(("recipe", "preset")), document.get(("data", "name"))
    if preset is None:
        return document
    known = data in catalog.names("data")
    own = document.get(("data", "kind"))
    kind = catalog.data_kind(str(data)) if known else own
    preset, kind = _one_of(preset, Preset, "tuned"), _one_of(kind, TaskKind, "denoising")
    name = f"{preset}_{kind}"
    path = resources.shipped("wconv_studies", "recipes")[name]
    content, origin = read_document(path, path.name).content, f"recipe {name}"
    for key, value in content["recipe"].items():
        document = _filled(document, ("recipe", key), value, origin)
    for option, value in content["data_options"].items():
        if known and catalog.has_option("data", str(data), option):
            document = _filled(document, ("data", "options", option), value, origin)
    return document


def _one_of(value: object, words: object, default: str) -> str:
    return str(value) if value in get_args(words) else default


def _filled(document: Document, location: Location, value: Any, origin: str) -> Document:
    mapping = document.get(location[:-1])
    if not isinstance(mapping, dict | None):
        return document  # wrong, and validation will say so
    if location[-1] not in (mapping or {}):
        return document.with_value(location, value, origin)
    given = (mapping or {})[location[-1]]
    if not (isinstance(given, dict) and isinstance(value, dict)):
        return document
    if given.get("name", value.get("name")) != value.get("name"):
        return document
    for key, inner in value.items():
        if key not in given:
            document = document.with_value((*location, key), inner, origin)
    return document
