"""Every problem of a file is named at once, in plain words, with its line and its remedy."""

import copy
import datetime
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.sweep.profiles import SITE
from tests.sweep.tiny import TINY, StudyFile
from wconv_jobs.spec import ModelSpec, RecipeSpec
from wconv_jobs.spec_base import Spec
from wconv_sweep import validation
from wconv_sweep.clusters.profile import LocalProfile, SlurmProfile
from wconv_sweep.errors import ConfigurationError
from wconv_sweep.study.config import StudyConfig
from wconv_sweep.study.files import load_study
from wconv_sweep.validation import did_you_mean, keys_of, validate
from wconv_sweep.yaml_files import Document, Location, read_document

RECIPE = """\
optimizer: {name: adam, lr: 3e-3}
epochs: 5
batch_size: 8
"""


def problems_of(tmp_path: Path, text: str) -> tuple[str, ...]:
    path = tmp_path / "recipe.yaml"
    path.write_text(text, "utf-8")
    with pytest.raises(ConfigurationError) as caught:
        validate(read_document(path, "recipe.yaml"), RecipeSpec)
    return caught.value.problems


def test_all_problems_are_named_at_once_each_with_its_line(tmp_path: Path) -> None:
    problems = problems_of(
        tmp_path, "optimizer: {name: adam, lr: -1}\nepochs: many\nbatch_sise: 8\n"
    )

    assert problems == (
        "recipe.yaml:1: optimizer.lr: must be greater than 0 (it is -1)",
        "recipe.yaml:2: epochs: must be an integer (it is 'many')",
        "recipe.yaml:1: batch_size: is required, but missing",
        "recipe.yaml:3: batch_sise: is not a known key. Did you mean 'batch_size'?",
    )


def test_an_unknown_key_inside_a_choice_names_the_nearest_key_of_that_choice(
    tmp_path: Path,
) -> None:
    (problem,) = problems_of(tmp_path, RECIPE.replace("lr:", "lr: 1, weight_decai:"))

    assert problem == (
        "recipe.yaml:1: optimizer.weight_decai: is not a known key. Did you mean 'weight_decay'?"
    )


def test_an_unknown_choice_names_the_known_ones(tmp_path: Path) -> None:
    (near,) = problems_of(tmp_path, RECIPE.replace("adam", "adamm"))
    (far,) = problems_of(tmp_path, RECIPE.replace("adam", "rmsprop"))

    known = "Known: adam, adamw, sgd."
    assert near == (
        f"recipe.yaml:1: optimizer.name: there is no 'adamm'. Did you mean 'adam'? {known}"
    )
    assert far == f"recipe.yaml:1: optimizer.name: there is no 'rmsprop'. {known}"


@pytest.mark.parametrize("optimizer", ["{lr: 1e-3}", "{name: null, lr: 1e-3}", "{}"])
def test_a_choice_that_is_missing_names_the_known_ones(tmp_path: Path, optimizer: str) -> None:
    (problem,) = problems_of(tmp_path, f"optimizer: {optimizer}\nepochs: 5\nbatch_size: 8\n")

    assert problem == (
        "recipe.yaml:1: optimizer.name: is required, but missing. Known: adam, adamw, sgd."
    )


@pytest.mark.parametrize(
    ("key", "meant"),
    [("learning_rate", "lr"), ("wd", "weight_decay"), ("Learning_Rate", "lr")],
)
def test_what_other_programs_call_a_key_leads_to_it(tmp_path: Path, key: str, meant: str) -> None:
    problems = problems_of(tmp_path, RECIPE.replace("lr:", f"lr: 1, {key}:"))

    assert problems == (
        f"recipe.yaml:1: optimizer.{key}: is not a known key. Did you mean '{meant}'?",
    )


def test_another_name_is_meant_only_where_its_key_is_known() -> None:
    assert did_you_mean("wd", ["lr", "weight_decay"]) == "Did you mean 'weight_decay'?"
    assert did_you_mean("wd", ["lr", "momentum"]) is None


def test_every_other_name_stands_for_a_key_that_there_is() -> None:
    known = {key[-1] for model in (StudyConfig, SlurmProfile) for key in keys_of(model)}

    assert set(validation._OTHER_NAMES.values()) <= known
    assert not set(validation._OTHER_NAMES) & known


@pytest.mark.parametrize("value", ["2026-01-01", "{a: 1}", "[[1]]", "!!set {a}"])
def test_a_value_of_a_wrong_kind_gets_one_problem(tmp_path: Path, value: str) -> None:
    path = tmp_path / "model.yaml"
    path.write_text(f"name: dncnn\noptions: {{depth: {value} }}\n")

    with pytest.raises(ConfigurationError) as caught:
        validate(read_document(path, "model.yaml"), ModelSpec)

    (problem,) = caught.value.problems
    assert problem.startswith(
        "model.yaml:2: options.depth: takes true or false, a number, a text,"
    )


@pytest.mark.parametrize("key", ["1", "null", "true", "2026-01-01"])
def test_a_key_that_is_no_text_is_named_beside_all_else(tmp_path: Path, key: str) -> None:
    problems = problems_of(tmp_path, RECIPE + f"{key}: 1\nbatsh: 1\n")

    assert len(problems) == 2
    assert "keys must be texts: write this one in quotes" in problems[0]
    assert "batsh: is not a known key" in problems[1]


def test_a_wrong_value_that_is_merged_in_is_named(tmp_path: Path) -> None:
    (problem,) = problems_of(tmp_path, RECIPE.replace("epochs: 5", "<<: {epochs: 0}"))

    assert problem.startswith("recipe.yaml:")
    assert problem.endswith(": epochs: must be at least 1 (it is 0)")


STUDY = TINY | {
    "description": "text",
    "code": "folder",
    "reference_densities": {"paper": [0.8]},
    "confirm": {"seeds": 2},
    "recipe": TINY["recipe"]
    | {
        "optimizer": {"name": "adam", "lr": 0.003, "betas": [0.9, 0.99]},
        "early_stopping": {"patience": 1},
        "test_metrics": ["uiq"],
    },
    "search": {
        "bounds": [[0.5, 1.5]],
        "sampler": {"name": "optuna", "path": "package.Class", "options": {"each": 1}},
        "pruner": {"name": "median"},
        "warm_start": ["other"],
        "stop_when": {"in_a_row": 1, "minimum": 2},
    },
}
ON_A_GRID = STUDY | {
    "search": {"bounds": [[0.5, 1.5]], "sampler": {"name": "grid", "points": [3]}},
    "recipe": TINY["recipe"] | {"optimizer": {"name": "sgd", "lr": 1.0, "nesterov": False}},
}
PROFILE = SITE | {
    "account": "project",
    "partition": {"default": "gpu", "known": {"gpu": {"max_nodes": 2}}},
    "constraint": "a100",
    "setup": ["module purge"],
    "modules": ["cuda/12.2"],
    "env": {"NAME": "value"},
    "billing": {"unit": "GPU-hours", "per_node": 4.0},
    "filesystem": {"scratch": "SCRATCH"},
    "sources": [
        {"facts": ["env"], "source": "x", "date": datetime.date(2026, 1, 1), "verified": True}
    ],
}
LOCAL = {
    "schema": 1,
    "cluster": "here",
    "launcher": "local",
    "walltime_min": 60,
    "pilots": 1,
    "gpus_per_pilot": 0,
}
MAPPING = "must hold `key: value` lines"
NAME = (
    "may contain only letters, digits, _ and -, at most 100, and must begin with a letter or digit"
)


@pytest.mark.parametrize(
    ("kind", "location", "value", "sentence"),
    [
        ("bool_type", "account_required", 1, "must be true or false (it is 1)"),
        ("date_type", "sources.0.date", "May", "must be a date, such as 2026-01-31 (it is 'May')"),
        ("dict_type", "reference_densities", [1], f"{MAPPING} (it is [1])"),
        ("finite_number", "budget.gpu_hours", float("inf"), "must be a finite number (it is inf)"),
        ("float_type", "budget.gpu_hours", "2", "must be a number (it is '2')"),
        ("greater_than", "budget.gpu_hours", 0, "must be greater than 0 (it is 0)"),
        ("greater_than_equal", "kernel_size", 1, "must be at least 3 (it is 1)"),
        (
            "int_parsing_size",
            "schema",
            10**30,
            f"must be an integer of fewer digits (it is {10**30})",
        ),
        ("int_type", "kernel_size", 3.0, "must be an integer (it is 3.0)"),
        (
            "invalid-json-value",
            "search.sampler.options.each",
            datetime.date(2026, 1, 1),
            "takes true or false, a number, a text, or a list of them, or `key: value` lines",
        ),
        ("invalid_key", 5, 1, "keys must be texts: write this one in quotes (it is 5)"),
        ("less_than", "recipe.label_smoothing", 1.5, "must be less than 1 (it is 1.5)"),
        ("less_than_equal", "budget.trials", 100_001, "must be at most 100000 (it is 100001)"),
        ("list_type", "search.bounds", 1, "must be a list (it is 1)"),
        ("literal_error", "recipe.preset", "papr", "must be 'paper' or 'tuned' (it is 'papr')"),
        ("missing", "search.stop_when", {"minimum": 2}, "in_a_row: is required, but missing"),
        ("model_attributes_type", "search.pruner", "median", f"{MAPPING} (it is 'median')"),
        ("model_type", "search", None, f"{MAPPING} (it is None)"),
        ("string_too_short", "code", "", "must not be empty (it is '')"),
        (
            "string_type",
            "study",
            2026,
            "must be a text; write a number or a date in quotes (it is 2026)",
        ),
        (
            "too_long",
            "search.bounds.0",
            [1, 2, 3],
            "has 3 elements, but takes 2 (it is [1, 2, 3])",
        ),
        ("too_short", "search.bounds", [], "has 0 elements, but needs 1 (it is [])"),
        ("tuple_type", "search.bounds.0", 1, "must be a list (it is 1)"),
        ("value_error", "study", "a b", f"{NAME} (it is 'a b')"),
    ],
)
def test_each_kind_of_problem_has_a_sentence_of_its_own(
    kind: str, location: str | int, value: object, sentence: str
) -> None:
    assert kind in validation._SENTENCES
    parts = [int(part) if part.isdigit() else part for part in str(location).split(".")]
    for model, content in ((StudyConfig, STUDY), (SlurmProfile, PROFILE)):
        at: Location = (location,) if isinstance(location, int) else tuple(parts)
        found = [each for each in _problems(model, _with(content, at, value)) if sentence in each]
        if found:
            break

    (problem,) = found
    assert problem.endswith(sentence)
    assert (".".join(map(str, at)) + ("." if kind == "missing" else ": ")) in problem


@pytest.mark.parametrize("path", ["TPESampler", "optuna.", "optuna samplers.TPESampler", ""])
def test_the_path_of_a_sampler_says_what_such_a_path_is(path: str) -> None:
    (problem,) = _problems(StudyConfig, _with(STUDY, ("search", "sampler", "path"), path))

    assert problem.endswith(
        "search.sampler.path: must be the import path of a class, with dots, such as "
        f"optuna.samplers.TPESampler (it is {path!r})"
    )


def test_a_name_that_is_wrong_and_its_value_are_both_named() -> None:
    problems = _problems(StudyConfig, STUDY | {"reference_densities": {"a name": []}})

    assert problems == [
        f"file.yaml:1: reference_densities.a name: {NAME} (it is 'a name')",
        "file.yaml:1: reference_densities.a name: has 0 elements, but needs 1 (it is [])",
    ]


def test_only_what_takes_a_list_says_so() -> None:
    paths = {
        "list": ("model", "options", "width"),
        "no list": ("search", "also", "recipe.optimizer.lr", "choices", 1),
        "no list in a density's values": ("reference_densities", "tuned", "recipe.optimizer.lr"),
    }
    content = STUDY | {
        "search": STUDY["search"] | {"also": {"recipe.optimizer.lr": {"choices": [0.1, 0.2]}}},
        "reference_densities": {"tuned": {"density": [0.8], "recipe.optimizer.lr": 0.1}},
    }

    said = {name: _problems(StudyConfig, _with(content, at, None)) for name, at in paths.items()}

    plain = "takes true or false, a number or a text (it is None)"
    assert {name: [each.split(": ", 2)[-1] for each in found] for name, found in said.items()} == {
        "list": ["takes true or false, a number, a text, or a list of them (it is None)"],
        "no list": [plain],
        "no list in a density's values": [plain],
    }


def test_a_long_value_is_cut() -> None:
    (problem,) = _problems(StudyConfig, STUDY | {"study": "x" * 5000})

    assert len(problem) < 400
    assert problem.endswith("xxx…)")


VALUES = [
    *(None, True, 0, -1, 10**30, 1.5, float("inf"), float("nan"), "", "a b", "1", "x" * 300),
    *([], [1], [1, 2, 3], [[1, 2]], ["a"], [None], {}, {"name": "other"}, {"name": None}, {1: 2}),
    *(datetime.date(2026, 1, 1), datetime.datetime(2026, 1, 1, 3), b"x", {1, 2}),
]
OF_THE_LIBRARY = re.compile(
    r"\b(inputs?|tag|discriminator|dictionary|instance|valid|tuple|after validation|string)\b"
)


@pytest.mark.parametrize(
    ("model", "content"),
    [
        (StudyConfig, STUDY),
        (StudyConfig, ON_A_GRID),
        (SlurmProfile, PROFILE),
        (LocalProfile, LOCAL),
    ],
    ids=["study", "grid", "profile", "local"],
)
def test_no_value_is_answered_in_words_of_the_library_that_checks_it(
    model: type[Spec], content: dict[str, Any]
) -> None:
    tried = 0
    assert _problems(model, content) == []

    for location in _locations(content):
        changed = [_with(content, location, value) for value in VALUES if location]
        for each in [*changed, *_with_other_keys(content, location)]:
            tried += 1
            for problem in _problems(model, each):
                assert not OF_THE_LIBRARY.search(problem), problem
                assert "\n" not in problem

    assert tried > 100


def _problems(model: type[Spec], content: Any) -> list[str]:
    lines = dict.fromkeys(_locations(content), 1)
    try:
        validate(Document("file.yaml", content, lines), model)
    except ConfigurationError as error:
        return list(error.problems)
    return []


def _locations(content: Any, location: Location = ()) -> Iterator[Location]:
    yield location
    inside = content.items() if isinstance(content, dict) else ()
    for key, inner in enumerate(content) if isinstance(content, list) else inside:
        yield from _locations(inner, (*location, key))


def _with(content: Any, location: Location, value: Any) -> Any:
    if not location:
        return value
    changed = copy.deepcopy(content)
    inner = changed
    for part in location[:-1]:
        inner = inner.setdefault(part, {}) if isinstance(inner, dict) else inner[part]
    inner[location[-1]] = value
    return changed


def _with_other_keys(content: Any, location: Location) -> Iterator[Any]:
    """Yield the content without a key, and with keys that it does not take."""
    inner = content
    for part in location:
        inner = inner[part]
    if isinstance(inner, dict):
        for key in inner:
            yield _with(content, location, {one: inner[one] for one in inner if one != key})
        yield _with(content, (*location, "unknown"), 1)
        yield _with(content, (*location, 5), 1)


def test_an_old_key_gets_one_line_with_the_new_one(study_file: StudyFile) -> None:
    recipe = {"optimizer": {"name": "adam", "lr": 0.003}, "epochs": 2, "batch": 8}
    recipe |= {"schedule": "constant"}
    search = {"bounds": [[0.5, 1.5]], "sampler": {"name": "random"}, "replicates": 2}
    fixed = {"paper": [0.8]}
    path = study_file(recipe=recipe, search=search, budget={"trials": 4}, fixed=fixed)

    with pytest.raises(ConfigurationError) as caught:
        load_study(str(path))

    lines = path.read_text("utf-8").splitlines()
    line = {key: 1 + lines.index(f"  {key}") for key in ("batch: 8", "schedule: constant")}
    assert caught.value.problems == (
        f"{path}:{line['batch: 8']}: recipe.batch: is now recipe.batch_size. Rename the key.",
        f"{path}:{line['schedule: constant']}: recipe.schedule: is now recipe.lr_schedule. "
        "Rename the key.",
        f"{path}:{1 + lines.index('  replicates: 2')}: search.replicates: is now search.seeds. "
        "Rename the key.",
        f"{path}:{1 + lines.index('fixed:')}: fixed: is now reference_densities. Rename the key.",
    )
