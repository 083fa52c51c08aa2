"""Fixtures of the orchestrator's tests."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from optuna.storages._rdb.storage import _VersionManager
from sqlalchemy import URL

from tests.sweep.nursery import ForkedSweep
from tests.sweep.postgres import Server
from tests.sweep.tiny import TINY, StudyFile, Sweep
from wconv_sweep.storage.open_storage import Storage, choose_url, create_storage
from wconv_sweep.storage.url import is_sqlite
from wconv_sweep.study.config import StudyConfig


@pytest.fixture(scope="session", autouse=True)
def _read_optunas_versions_once() -> Iterator[None]:
    """Let Optuna load the files of all its versions once, and not for each storage."""
    read = _VersionManager.get_head_version
    newest: list[str] = []

    def get_head_version(manager: _VersionManager) -> str:
        if not newest:
            newest.append(read(manager))
        return newest[0]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_VersionManager, "get_head_version", get_head_version)
        yield


@pytest.fixture
def tiny_config() -> StudyConfig:
    return StudyConfig.model_validate(TINY)


@pytest.fixture
def study_file(tmp_path: Path) -> StudyFile:
    """Write the tiny study to a file, with some of its sections replaced."""
    return Sweep(tmp_path).write_study


# The quick tests run on SQLite; a database of the server costs too much for all of them.
@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def storage_url(request: pytest.FixtureRequest, tmp_path: Path) -> URL:
    """Return the URL of a database of each kind; the SQLite file is still to be created."""
    if request.param == "sqlite":
        return choose_url(None, tmp_path, environment={})
    server: Server = request.getfixturevalue("postgres")
    return server.database()


@pytest.fixture(scope="session")
def sqlite_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An SQLite file with all tables and nothing in them, to be copied: that takes no time."""
    folder = tmp_path_factory.mktemp("sqlite")
    create_storage(choose_url(None, folder, environment={})).close()
    return folder / "sweep.db"


@pytest.fixture
def storage(
    storage_url: URL, sqlite_file: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Storage]:
    if is_sqlite(storage_url):
        shutil.copy(sqlite_file, str(storage_url.database))
    created = create_storage(storage_url)
    # The server of the tests is younger than any lease, and leases that ran out while a server was
    # away are not given on at once.
    monkeypatch.setattr(created, "up_since", lambda: None)
    yield created
    created.close()


@pytest.fixture
def sqlite_storage(tmp_path: Path, sqlite_file: Path) -> Iterator[Storage]:
    shutil.copy(sqlite_file, tmp_path)
    created = create_storage(choose_url(None, tmp_path, environment={}))
    yield created
    created.close()


@pytest.fixture
def sweep(tmp_path: Path) -> Sweep:
    """Return the command in a folder of its own, run without loading its packages each time."""
    return ForkedSweep(tmp_path)


@pytest.fixture
def started_sweep(tmp_path: Path) -> Sweep:
    """Return the command in a folder of its own, started as users start it."""
    return Sweep(tmp_path)


@pytest.fixture
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "an empty folder"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.delenv("WCONV_SWEEP_STORAGE", raising=False)
    monkeypatch.delenv("OPTUNA_STORAGE", raising=False)
    return folder
