"""Fixtures of the orchestrator's tests."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.sweep.tiny import TINY, StudyFile, Sweep
from wconv_sweep.storage import Storage, choose_url, create_storage
from wconv_sweep.study_config import StudyConfig


@pytest.fixture
def tiny_config() -> StudyConfig:
    return StudyConfig.model_validate(TINY)


@pytest.fixture
def study_file(tmp_path: Path) -> StudyFile:
    """Write the tiny study to a file, with some of its sections replaced."""

    def write(**sections: Any) -> Path:
        path = tmp_path / "tiny.yaml"
        path.write_text(yaml.safe_dump(TINY | sections, sort_keys=False), "utf-8")
        return path

    return write


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[Storage]:
    created = create_storage(choose_url(None, tmp_path, environment={}))
    yield created
    created.close()


@pytest.fixture
def sweep(tmp_path: Path) -> Sweep:
    return Sweep(tmp_path)


@pytest.fixture
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "an empty folder"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.delenv("WCONV_SWEEP_STORAGE", raising=False)
    monkeypatch.delenv("OPTUNA_STORAGE", raising=False)
    return folder
