"""A file with an old key gets one line with the new one, and no other file does."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.sweep.profiles import SITE
from tests.sweep.tiny import TINY
from wconv_sweep.clusters.profile import SlurmProfile, load_profile
from wconv_sweep.errors import ConfigurationError
from wconv_sweep.renamed_keys import NEW_NAMES
from wconv_sweep.study.files import load_study
from wconv_sweep.validation import keys_of

VALUES: dict[str, Any] = {
    "recipe.batch": 8,
    "recipe.schedule": "constant",
    "search.replicates": 2,
    "fixed": {"published": [0.9]},
    "gpus": 2,
}
"""What a file may hold under each old key."""


def _write(path: Path, content: dict[str, Any], old: str) -> int:
    """Write a file with an old key in place of the new one, and return the line of the key."""
    content = copy.deepcopy(content)
    *sections, key = old.split(".")
    section = content
    for name in sections:
        section = section[name]
    section.pop(NEW_NAMES[old].rpartition(".")[2], None)
    section[key] = VALUES[old]
    path.write_text(yaml.safe_dump(content, sort_keys=False), "utf-8")
    lines = path.read_text("utf-8").splitlines()
    return next(n for n, line in enumerate(lines, 1) if line.strip().startswith(f"{key}:"))


@pytest.mark.parametrize("old", NEW_NAMES)
def test_an_old_key_is_answered_with_the_new_one(tmp_path: Path, old: str) -> None:
    path = tmp_path / "old.yaml"
    of_profile = tuple(NEW_NAMES[old].split(".")) in keys_of(SlurmProfile)
    line = _write(path, SITE if of_profile else TINY, old)
    load: Callable[[str], object] = load_profile if of_profile else load_study

    with pytest.raises(ConfigurationError) as caught:
        load(str(path))

    assert caught.value.problems == (
        f"{path}:{line}: {old}: is now {NEW_NAMES[old]}. Rename the key.",
    )


def test_a_new_key_of_profiles_is_not_offered_to_a_study(tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    line = _write(path, TINY, "gpus")

    with pytest.raises(ConfigurationError) as of_file:
        load_study(str(path))
    path.write_text(yaml.safe_dump(TINY, sort_keys=False), "utf-8")
    with pytest.raises(ConfigurationError) as of_setting:
        load_study(str(path), settings=["gpus=2"])

    (problem,) = of_file.value.problems
    assert problem.startswith(f"{path}:{line}: gpus: is not a known key.")
    (problem,) = of_setting.value.problems
    assert problem.startswith("--set gpus=2: there is no key 'gpus'.")
