"""What the program reads passes the JSON schemas for editors, and what it refuses does not."""

import importlib
import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

import pytest
from jsonschema import Draft202012Validator

from tests.sweep.profiles import SITE
from tests.sweep.tiny import TINY, run
from wconv_sweep.clusters.profile import check_profile
from wconv_sweep.errors import ConfigurationError
from wconv_sweep.study.files import check_study
from wconv_sweep.study.template import write_study
from wconv_sweep.yaml_files import Document, read_document

ROOT = Path(__file__).parents[1]
STUDY = ROOT / "studies" / "study.schema.json"
CLUSTER = ROOT / "slurm_templates" / "cluster.schema.json"


def problems(schema: Path, content: object) -> list[str]:
    """Return what an editor would mark."""
    validator = Draft202012Validator(json.loads(schema.read_text("utf-8")))
    # An editor sees a date as a text.
    plain = json.loads(json.dumps(content, default=str))
    return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(plain)]


def test_the_files_are_what_the_program_would_write_now(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "docs" / "hooks"))
    schemas: Any = importlib.import_module("schemas")

    written = {path: path.read_text("utf-8") for path in (STUDY, CLUSTER)}

    # If not: python docs/hooks/schemas.py
    assert schemas.schema_files() == written
    for content in written.values():
        Draft202012Validator.check_schema(json.loads(content))


def test_keys_come_with_their_meaning() -> None:
    schema = json.loads(STUDY.read_text("utf-8"))

    assert "relative to this file" in schema["properties"]["code"]["description"]
    assert schema["$defs"]["BudgetSpec"]["properties"]["trials"]["description"]


@pytest.mark.parametrize(
    ("schema", "path"),
    [
        *((STUDY, path) for path in sorted((ROOT / "studies").glob("*.yaml"))),
        *((CLUSTER, path) for path in sorted((ROOT / "slurm_templates").glob("*.yaml"))),
    ],
    ids=lambda path: path.stem,
)
def test_every_file_that_ships_passes(schema: Path, path: Path) -> None:
    assert problems(schema, read_document(path, path.name).content) == []


@pytest.mark.parametrize(
    "sections",
    [
        {},
        {"recipe": {"preset": "tuned"}},
        {"recipe": {"preset": "paper", "epochs": 2, "optimizer": {"lr": 0.01}}},
        {"recipe": {"preset": "tuned", "lr_schedule": {"warmup_epochs": 5}}},
        {"recipe": TINY["recipe"] | {"lr_schedule": "constant"}},
        {"recipe": TINY["recipe"] | {"lr_schedule": {"name": "step", "milestone_epochs": [1]}}},
        {
            "reference_densities": {"a-name_of-mine": [0.5]},
            "confirm": {"seeds": 2},
            "budget": {"trials": 20},
        },
    ],
)
def test_what_the_program_reads_passes(sections: dict[str, Any]) -> None:
    content = TINY | sections
    check_study(Document("tiny.yaml", content, {}))

    assert problems(STUDY, content) == []


@pytest.mark.parametrize(
    "sections",
    [
        {"recipe": {"preset": "tunned"}},
        {"recipe": {"epochs": 2, "batch_size": 8}},
        {"recipe": {"preset": "tuned", "epoch": 2}},
        {"recipe": {"preset": "tuned", "lr_schedule": {"warm_up": 5}}},
        {"recipe": TINY["recipe"] | {"lr_schedule": "step"}},
        {"recipe": TINY["recipe"] | {"lr_schedule": {"name": "cosine", "gamma": 0.5}}},
        {"recipe": {"preset": "tuned", "optimizer": {"learning_rate": 1}}},
        {"budget": {"trials": 0}},
        {"budget": {}},
        {"serch": {}},
        {"study": "a name with blanks"},
        {"kernel_size": "3"},
        {"search": {"bounds": [[0.5]], "sampler": {"name": "random"}}},
        {"search": {"bounds": [[0.5, 1.5]], "sampler": {"name": "best"}}},
        {"search": {"bounds": [[0.5, 1.5]], "sampler": {"name": "gp", "scramble": True}}},
    ],
)
def test_what_the_program_refuses_is_marked(sections: dict[str, Any]) -> None:
    content = TINY | sections
    with pytest.raises(ConfigurationError):
        check_study(Document("tiny.yaml", content, {}))

    assert problems(STUDY, content) != []


@pytest.mark.parametrize(
    "keys",
    [
        {"launcher": "pbs"},
        {"gpus_per_node": -1},
        {"partitions": {}},
        {"partition": {"known": {"gpu": {"max_hours": 1}}}},
        {"launcher": "local"},
    ],
)
def test_a_profile_that_the_program_refuses_is_marked(keys: dict[str, Any]) -> None:
    assert problems(CLUSTER, SITE) == []
    with pytest.raises(ConfigurationError):
        check_profile(Document("site.yaml", SITE | keys, {}))

    assert problems(CLUSTER, SITE | keys) != []


@pytest.mark.parametrize(("group", "path"), [("studies", STUDY), ("clusters", CLUSTER)])
def test_the_commands_print_them(
    group: str,
    path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(monkeypatch, capsys, group, "schema") == (0, path.read_text("utf-8"), "")


def test_a_new_study_names_a_schema_that_is_there_and_that_it_passes(tmp_path: Path) -> None:
    study, _ = write_study("mine", tmp_path)

    (uri,) = re.findall(
        r"^# yaml-language-server: \$schema=(\S+)$", study.read_text("utf-8"), re.MULTILINE
    )
    schema = Path(unquote(urlparse(uri).path))
    assert problems(schema, read_document(study, study.name).content) == []
