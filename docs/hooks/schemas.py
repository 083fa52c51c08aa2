"""Writes the JSON schemas of study files and cluster profiles: `python docs/hooks/schemas.py`.

Editors complete and check with them. They lie in the data packages, so that an installed program
has them; tests/test_schemas.py keeps them equal to what the program reads.
"""

import json
from pathlib import Path
from typing import Any

import reference
from pydantic import BaseModel

from wconv_sweep.clusters.profile import LocalProfile, SlurmProfile
from wconv_sweep.study.config import StudyConfig
from wconv_sweep.study.trainer import TAKEN

ROOT = Path(__file__).parents[2]
_DRAFT = "https://json-schema.org/draft/2020-12/schema"

Schema = dict[str, Any]


def study_schema() -> Schema:
    """Return the schema of a study, in which a recipe by name may leave out what it fills in."""
    schema = _schema(StudyConfig)
    definitions = schema["$defs"]
    whole = definitions["RecipeSpec"]
    choices = {
        key: [definitions[each["$ref"].rpartition("/")[2]] for each in chosen["oneOf"]]
        for key, chosen in whole["properties"].items()
        if "oneOf" in chosen
    }
    # The name alone of a schedule that needs no option.
    schedules = whole["properties"]["lr_schedule"]
    alone = [each for each in choices["lr_schedule"] if each["required"] == ["name"]]
    schedules["anyOf"] = [{"enum": _names(alone)}, {"oneOf": schedules.pop("oneOf")}]
    del schedules["discriminator"]
    short = json.loads(json.dumps(whole))
    short["required"] = ["preset"]
    short["properties"]["preset"] = {"enum": whole["properties"]["preset"]["anyOf"][0]["enum"]}
    # The preset also fills in single keys of the optimizer and the schedule, the name among them.
    short["properties"]["optimizer"] = _some_keys_of(choices["optimizer"])
    short["properties"]["lr_schedule"]["anyOf"][1] = _some_keys_of(choices["lr_schedule"])
    definitions["RecipeSpec"] = {
        "if": {"properties": {"preset": {"type": "string"}}, "required": ["preset"]},
        "then": {"$ref": "#/$defs/RecipeByName"},
        "else": {"$ref": "#/$defs/WholeRecipe"},
    }
    definitions |= {"RecipeByName": short, "WholeRecipe": whole}
    # A trainer takes the place of these.
    own = {*schema["required"]} - {*TAKEN}
    schema["required"] = [key for key in schema["required"] if key in own]
    schema["if"] = {"required": ["trainer"], "properties": {"trainer": {"type": "object"}}}
    schema["then"] = {"properties": dict.fromkeys(TAKEN, False)}
    schema["else"] = {"required": list(TAKEN)}
    return schema | {"title": "Study of wconv-sweep"}


def cluster_schema() -> Schema:
    """Return the schema of a profile, of the kind that `launcher` names."""
    local, slurm = _schema(LocalProfile), _schema(SlurmProfile)
    definitions = local.pop("$defs", {}) | slurm.pop("$defs", {})
    return {
        "$schema": _DRAFT,
        "title": "Cluster profile of wconv-sweep",
        "type": "object",
        "required": ["launcher"],
        "properties": {"launcher": {"enum": ["local", "slurm"]}},
        "if": {"properties": {"launcher": {"const": "local"}}},
        "then": {"$ref": "#/$defs/LocalProfile"},
        "else": {"$ref": "#/$defs/SlurmProfile"},
        "$defs": definitions | {"LocalProfile": local, "SlurmProfile": slurm},
    }


def schema_files() -> dict[Path, str]:
    """Return the files and what is to be in them."""
    contents = {
        ROOT / "studies" / "study.schema.json": study_schema(),
        ROOT / "slurm_templates" / "cluster.schema.json": cluster_schema(),
    }
    return {path: json.dumps(schema, indent=1) + "\n" for path, schema in contents.items()}


def _some_keys_of(variants: list[Schema]) -> Schema:
    """Return the schema of a choice whose preset fills in what is left out."""
    keys: Schema = {}
    for variant in variants:
        keys = variant["properties"] | keys
    keys["name"] = {"enum": _names(variants), "type": "string"}
    return {"type": "object", "additionalProperties": False, "properties": keys}


def _names(variants: list[Schema]) -> list[str]:
    names = [variant["properties"]["name"] for variant in variants]
    return [each for name in names for each in name.get("enum") or [name["const"]]]


def _schema(model: type[BaseModel]) -> Schema:
    """Return the schema of a file, with what the code says below each key."""
    schema = model.model_json_schema(by_alias=True)
    _describe(schema, reference.field_meanings(model.__name__))
    for name, definition in schema.get("$defs", {}).items():
        if "properties" in definition:
            _describe(definition, reference.field_meanings(name))
    return {"$schema": _DRAFT} | schema


def _describe(definition: Schema, meanings: dict[str, str]) -> None:
    for key, value in definition["properties"].items():
        if key in meanings:
            value["description"] = meanings[key]


if __name__ == "__main__":
    for path, content in schema_files().items():
        path.write_text(content, "utf-8")
