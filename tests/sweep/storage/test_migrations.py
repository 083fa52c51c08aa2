"""Tables of an older version are refused until they are upgraded, and then hold what they held."""

import json
from pathlib import Path

import pytest
from optuna.storages import RDBStorage
from optuna.storages._rdb import models
from sqlalchemy import URL, column, create_engine, inspect, select, table, update

from tests.sweep.postgres import Server
from tests.sweep.tiny import TINY
from wconv_jobs.recipe.lr_schedule import CosineSpec
from wconv_sweep.errors import StorageError
from wconv_sweep.evidence.study_status import read_status
from wconv_sweep.slots.definitions import load_config
from wconv_sweep.slots.provenance import differences, program_of
from wconv_sweep.slots.studies import check_same
from wconv_sweep.storage.migrations import OPTUNA_REVISION, OPTUNA_SCHEMA
from wconv_sweep.storage.open_storage import create_storage, open_storage, upgrade_storage
from wconv_sweep.storage.study_lookup import find_study
from wconv_sweep.storage.tables import ATTEMPTS, METADATA, SCHEMA, SCHEMA_VERSION, SLOTS, SlotState
from wconv_sweep.storage.url import choose_url
from wconv_sweep.study.config import StudyConfig

HERE = Path(__file__).parent
_ATTRIBUTES = table("trial_user_attributes", column("key"))

# What the study of version_2.sql is in a file of today.
TODAY = TINY | {
    "recipe": TINY["recipe"] | {"lr_schedule": "constant"},
    "search": TINY["search"] | {"seeds": 2},
    "fixed": {"published": [0.8]},
    "budget": {"trials": 6},
}


@pytest.fixture(params=["sqlite", "postgresql"])
def version_1(request: pytest.FixtureRequest, tmp_path: Path) -> URL:
    """Make a database as version 1 of the tables had it, with a study that was interrupted."""
    definition = StudyConfig.model_validate(TINY).plain()
    recipe, search = definition["recipe"], definition["search"]
    search["sampler"]["startup_trials"] = 10  # also of `random`, in version 1
    search["replicates"] = search.pop("seeds")
    recipe["schedule"] = recipe.pop("lr_schedule")["name"]
    recipe["batch"] = recipe.pop("batch_size")
    del definition["is_smoke"]
    content = (HERE / "version_1.sql").read_text("utf-8")
    return _database(request, tmp_path, content.replace("{CONFIG}", json.dumps(definition)))


@pytest.fixture(params=["sqlite", "postgresql"])
def version_2(request: pytest.FixtureRequest, tmp_path: Path) -> URL:
    """Make a database as version 2 of the tables had it, with a study and a smoke run."""
    return _database(request, tmp_path, (HERE / "version_2.sql").read_text("utf-8"))


def _database(request: pytest.FixtureRequest, tmp_path: Path, content: str) -> URL:
    if request.param == "sqlite":
        url = choose_url(None, tmp_path, environment={})
    else:
        server: Server = request.getfixturevalue("postgres")
        url = server.empty_database()
    client = RDBStorage(url.render_as_string(hide_password=False))
    client.remove_session()
    client.engine.dispose()
    engine = create_engine(url)
    with engine.begin() as connection:
        for statement in content.split(";\n"):
            if statement.strip():
                connection.exec_driver_sql(statement)
    engine.dispose()
    return url


@pytest.mark.slow
def test_an_older_storage_is_refused_with_the_command_that_upgrades_it(version_1: URL) -> None:
    for use in (open_storage, create_storage):
        with pytest.raises(StorageError) as caught:
            use(version_1)
        needed = f"has tables of version 1, this program needs {SCHEMA_VERSION}."
        assert needed in str(caught.value)
        assert "run `wconv-sweep db upgrade`" in str(caught.value)


def test_an_upgraded_storage_holds_what_it_held_and_has_the_tables_of_a_new_one(
    version_1: URL, tmp_path: Path
) -> None:
    versions = upgrade_storage(version_1)

    assert versions == (1, SCHEMA_VERSION)
    storage = open_storage(version_1)
    status = read_status(storage, "tiny")
    with storage.read() as connection:
        slots = connection.execute(select(SLOTS).order_by(SLOTS.c.slot)).all()
        found = {
            table.name: {
                (column["name"], column["nullable"])
                for column in inspect(connection).get_columns(table.name)
            }
            for table in METADATA.sorted_tables
        }
    storage.close()
    assert [row.state for row in slots] == ["complete", "leased", "open"]
    assert (status.trials[0].value, status.trials[0].metrics) == (28.5, {"psnr_db": 28.5})
    assert [(each.count, each.traceback) for each in status.failures] == [(1, "tb")]
    assert found == {
        table.name: {(column.name, bool(column.nullable)) for column in table.columns}
        for table in METADATA.sorted_tables
    }


def test_a_study_with_the_keys_of_version_2_is_the_same_study_after_the_upgrade(
    version_2: URL,
) -> None:
    upgrade_storage(version_2)

    storage = open_storage(version_2)
    config = StudyConfig.model_validate(TODAY)
    there = check_same(storage, config)
    with storage.read() as connection:
        row = find_study(connection, storage, "tiny")
        provenance = [
            each
            for rows in (ATTEMPTS, SLOTS)
            for each in connection.scalars(select(rows.c.provenance))
            if each is not None
        ]
        attributes: set[str] = {*connection.scalars(select(_ATTRIBUTES.c.key))}
    storage.close()
    assert there
    # Every key is written, so that no default of a later program takes its place.
    assert json.loads(row.config) == config.plain()
    recorded = json.loads(row.provenance)
    assert recorded["git_commit"].startswith("98ec1ee")
    assert recorded["config_sha256"] == config.digest()
    assert not any("definition" in each for each in differences(recorded, program_of(config)))
    assert [json.loads(each)["config_sha256"] for each in provenance] == [config.digest()] * 2
    assert attributes == {"stage", "seed_index", "seed"}


def test_a_smoke_run_of_version_2_is_known_as_one(version_2: URL) -> None:
    upgrade_storage(version_2)

    storage = open_storage(version_2)
    smoke, tiny = (load_config(storage, name) for name in ("tiny_smoke", "tiny"))
    storage.close()
    assert (smoke.is_smoke, tiny.is_smoke) == (True, False)
    assert (smoke.recipe.lr_schedule, smoke.search.seeds) == (CosineSpec(name="cosine"), 1)


def test_upgrading_again_changes_nothing(version_1: URL) -> None:
    upgrade_storage(version_1)

    assert upgrade_storage(version_1) == (SCHEMA_VERSION, SCHEMA_VERSION)


def test_tables_that_pilots_use_are_left_alone(version_1: URL) -> None:
    engine = create_engine(version_1)
    with engine.begin() as connection:
        leased = SLOTS.c.state == SlotState.LEASED
        connection.execute(update(SLOTS).where(leased).values(lease_until=4e9))
    engine.dispose()

    with pytest.raises(StorageError, match=r"pilots hold 1 trial\(s\), and cannot go on"):
        upgrade_storage(version_1)
    with pytest.raises(StorageError, match=r"has tables of version 1"):
        open_storage(version_1)


def test_an_upgrade_that_fails_leaves_everything_as_it_was(
    version_1: URL, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("in the middle")

    monkeypatch.setattr("wconv_sweep.storage.migrations.check_optuna_version", fail)
    with pytest.raises(RuntimeError, match="in the middle"):
        upgrade_storage(version_1)
    monkeypatch.undo()

    assert upgrade_storage(version_1) == (1, SCHEMA_VERSION)


def test_newer_tables_are_refused_with_the_advice_to_update(storage_url: URL) -> None:
    storage = create_storage(storage_url)
    try:
        with storage.write() as connection:
            connection.execute(SCHEMA.update().values(version=SCHEMA_VERSION + 1))
        for use in (open_storage, create_storage, upgrade_storage):
            with pytest.raises(StorageError, match=r"a newer wconv-sweep made; .* Update the"):
                use(storage_url)
    finally:
        with storage.write() as connection:
            connection.execute(SCHEMA.update().values(version=SCHEMA_VERSION))
        storage.close()


def test_optunas_tables_are_those_that_the_installed_optuna_has(tmp_path: Path) -> None:
    client = RDBStorage(f"sqlite:///{tmp_path}/optuna.db")

    assert (models.SCHEMA_VERSION, client.get_head_version()) == (OPTUNA_SCHEMA, OPTUNA_REVISION)
    client.remove_session()
    client.engine.dispose()


def test_other_tables_of_optuna_are_refused(tmp_path: Path) -> None:
    url = choose_url(None, tmp_path, environment={})
    storage = create_storage(url)
    with storage.write() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = 'v9.0.0.a'")
    storage.close()

    with pytest.raises(StorageError, match=r"Optuna's tables are of version 12 \(v9\.0\.0\.a\)"):
        open_storage(url)
