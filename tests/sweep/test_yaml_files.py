"""A file that is no proper YAML is refused with its line, and nothing in it is executed."""

from itertools import pairwise
from pathlib import Path

import pytest
import yaml

from wconv_sweep.errors import ConfigurationError
from wconv_sweep.yaml_files import Document, parse_value, read_document

RECIPE = """\
optimizer: {name: adam, lr: 3e-3}
epochs: 5
batch_size: 8
"""


def read(tmp_path: Path, text: str) -> Document:
    path = tmp_path / "recipe.yaml"
    path.write_text(text, "utf-8")
    return read_document(path, "recipe.yaml")


def problems_of(tmp_path: Path, text: str) -> tuple[str, ...]:
    with pytest.raises(ConfigurationError) as caught:
        read(tmp_path, text)
    return caught.value.problems


@pytest.mark.parametrize("text", ["3e-3", "3.0e-3", "0.003", "3E-3", "+3e-3"])
def test_a_number_may_be_written_in_every_usual_way(tmp_path: Path, text: str) -> None:
    recipe = read(tmp_path, RECIPE.replace("3e-3", text))

    assert recipe.get(("optimizer", "lr")) == 0.003


@pytest.mark.parametrize("time", ["16:00", "12:30:00", "1:30.5", "-1:00"])
def test_a_time_of_day_is_a_text_and_no_number_to_the_base_of_60(
    tmp_path: Path, time: str
) -> None:
    assert read(tmp_path, f"begin: {time}\n").content == {"begin": time}
    assert parse_value(time) == time


def test_a_key_given_twice_is_refused_with_both_lines(tmp_path: Path) -> None:
    (problem,) = problems_of(tmp_path, RECIPE + "epochs: 6\n")

    assert problem == ("recipe.yaml:4: epochs: is given twice, first in line 2. Remove one.")


def test_a_text_that_is_not_yaml_is_refused_with_its_line(tmp_path: Path) -> None:
    (problem,) = problems_of(tmp_path, "epochs: 5\nbatch_size: [1\n")

    assert problem.startswith("recipe.yaml:3: is not valid YAML: ")


def test_a_tag_that_would_run_code_is_refused(tmp_path: Path) -> None:
    (problem,) = problems_of(tmp_path, "epochs: !!python/object/apply:os.system ['true']\n")

    assert "is not valid YAML: could not determine a constructor" in problem


@pytest.mark.parametrize("text", ["", "- 1\n", "5\n"])
def test_a_file_without_keys_is_refused(tmp_path: Path, text: str) -> None:
    (problem,) = problems_of(tmp_path, text)

    assert problem == "recipe.yaml: is not a mapping. Write `key: value` lines at its top level."


@pytest.mark.parametrize(
    "text",
    [
        "epochs: \x07\n",
        "? [a, b]\n: 1\n",
        "epochs: &a [*a]\n",
        "epochs: " + "[" * 3000 + "]" * 3000 + "\n",
        "epochs: 2026-13-45\n",
    ],
    ids=["control character", "list as key", "endless anchor", "deep nesting", "no such date"],
)
@pytest.mark.slow
def test_strange_yaml_gets_a_line_and_no_traceback(tmp_path: Path, text: str) -> None:
    (problem, *_) = problems_of(tmp_path, text)

    assert problem.startswith("recipe.yaml")
    assert "\n" not in problem


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ('"\\ud83d\\ude00"', "line 2 holds half a character"),
        ("0x" + "f" * 5000, "line 2 holds an integer of more than 100 digits"),
    ],
    ids=["half a character", "endless integer"],
)
def test_what_python_reads_but_cannot_write_is_refused(
    tmp_path: Path, value: str, problem: str
) -> None:
    (found,) = problems_of(tmp_path, f"epochs: 5\nbatch: {value}\n")
    with pytest.raises(ValueError, match=problem.removeprefix("line 2 ")):
        parse_value(value)

    assert found.startswith(f"recipe.yaml: is not valid YAML: {problem}")


# Ten lists of ten of the one before: a billion elements in ten lines.
_ANCHORS = [f"&{name} [{', '.join([f'*{one}'] * 10)}]" for one, name in pairwise("abcdefghi")]
BILLIONS = "\n".join(f"  - {each}" for each in ["&a [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]", *_ANCHORS])


@pytest.mark.parametrize("how", ["file", "value"])
def test_anchors_that_hold_billions_are_refused_and_not_counted(tmp_path: Path, how: str) -> None:
    if how == "file":
        (problem,) = problems_of(tmp_path, f"epochs:\n{BILLIONS}\n")
    else:
        with pytest.raises(ValueError, match="is not valid YAML") as caught:
            parse_value(f"\n{BILLIONS}")
        problem = str(caught.value)

    assert "holds more than 100,000 keys and elements, those behind anchors included" in problem


# Each merges the one before ten times: keys that are ten times as many, which then are one.
_MERGED = [f"&{name} {{<<: [{', '.join([f'*{one}'] * 10)}]}}" for one, name in pairwise("abcdefg")]
MERGED_OFTEN = "\n".join(f"  - {each}" for each in ["&a {x: 1}", *_MERGED])


@pytest.mark.parametrize("how", ["list", "file", "value"])
def test_anchors_that_merge_each_other_are_refused_before_they_are_merged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    merged: list[yaml.MappingNode] = []
    monkeypatch.setattr(yaml.SafeLoader, "flatten_mapping", lambda _, node: merged.append(node))
    if how == "value":
        with pytest.raises(ValueError, match="holds more than 100,000 keys") as caught:
            parse_value(f"\n{MERGED_OFTEN}")
        problem = str(caught.value)
    else:
        (problem,) = problems_of(
            tmp_path, f"{'epochs:' if how == 'file' else ''}\n{MERGED_OFTEN}\n"
        )

    assert "holds more than 100,000 keys" in problem
    assert merged == []


def test_a_value_that_repeats_a_key_is_refused() -> None:
    with pytest.raises(ValueError, match="a: is given twice") as caught:
        parse_value("{a: 1, a: 2}")

    assert str(caught.value) == (
        "is not valid YAML: value:1: a: is given twice, first in line 1. Remove one."
    )


@pytest.mark.parametrize("text", ["&a [*a]", "&a {b: *a}", "&a {<<: *a}"])
def test_a_value_that_holds_itself_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not valid YAML: "):
        parse_value(text)


def test_no_value_is_null() -> None:
    assert parse_value("") is None


def test_a_binary_file_is_refused_by_its_name(tmp_path: Path) -> None:
    path = tmp_path / "photo.yaml"
    path.write_bytes(b"\x89PNG\xff\xfe")

    with pytest.raises(ConfigurationError, match=r"^photo\.yaml: cannot be read: is not UTF-8"):
        read_document(path, "photo.yaml")
