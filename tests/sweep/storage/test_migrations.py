"""Tables of an older version are refused until they are upgraded, and then hold what they held."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from optuna.storages import RDBStorage
from optuna.storages._rdb import models
from sqlalchemy import URL, MetaData, create_engine, func, inspect, select, update

from tests.sweep.postgres import Server
from tests.sweep.searching import Searcher
from tests.sweep.slots.test_table import optuna_trials
from tests.sweep.tiny import TINY
from wconv_sweep.errors import StorageError
from wconv_sweep.evidence.overview import read_overview
from wconv_sweep.evidence.study_status import read_status
from wconv_sweep.search.trial_mirror import TrialMirror
from wconv_sweep.slots.definitions import load_config
from wconv_sweep.slots.provenance import differences, program_of
from wconv_sweep.slots.studies import check_same
from wconv_sweep.storage.migrations import OPTUNA_REVISION, OPTUNA_SCHEMA
from wconv_sweep.storage.open_storage import create_storage, open_storage, upgrade_storage
from wconv_sweep.storage.tables import METADATA, SCHEMA, SCHEMA_VERSION, SLOTS, STUDIES, SlotState
from wconv_sweep.storage.url import choose_url
from wconv_sweep.study.config import StudyConfig, config_of
from wconv_sweep.study.point import Point

# One dump of the tables of each version before, with a study.
DUMPS = Path(__file__).parent

# What the study of version_2.sql is in a file of today.
TODAY = TINY | {
    "kernel_size": 5,
    "search": {
        "bounds": [[0.05, 1.0], [0.5, 1.5]],
        "sampler": {"name": "tpe", "startup_trials": 3},
        "pruner": {"name": "median", "startup_trials": 1},
    },
    "reference_densities": {"paper": [0.1, 0.9]},
    "confirm": {"candidates": 1, "seeds": 2},
    "budget": {"trials": 11, "breaker_failures": 9, "gpu_hours": 50.0},
}

OldStorage = Callable[[int], URL]


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def old_storage(request: pytest.FixtureRequest, tmp_path: Path) -> OldStorage:
    """Make a database as a version of the tables had it, with a study that was interrupted."""

    def make(version: int) -> URL:
        if request.param == "sqlite":
            url = choose_url(None, tmp_path, environment={})
        else:
            server: Server = request.getfixturevalue("postgres")
            url = server.empty_database()
        client = RDBStorage(url.render_as_string(hide_password=False))
        client.remove_session()
        client.engine.dispose()
        dump = (DUMPS / f"version_{version}.sql").read_text("utf-8")
        engine = create_engine(url)
        with engine.begin() as connection:
            for statement in dump.split(";\n"):
                if statement.strip():
                    connection.exec_driver_sql(statement)
        engine.dispose()
        return url

    return make


@pytest.fixture
def version_1(old_storage: OldStorage) -> URL:
    return old_storage(1)


@pytest.fixture
def version_2(old_storage: OldStorage) -> URL:
    return old_storage(2)


@pytest.mark.slow
def test_an_older_storage_is_refused_with_the_command_that_upgrades_it(version_1: URL) -> None:
    for use in (open_storage, create_storage):
        with pytest.raises(StorageError) as caught:
            use(version_1)
        assert "has tables of version 1, this program needs 4." in str(caught.value)
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


def test_an_upgraded_study_of_version_2_holds_in_the_new_columns_what_it_held(
    version_2: URL,
) -> None:
    before = rows_of(version_2)
    upgrade_storage(version_2)
    after = rows_of(version_2)

    for pilot in before["wconv_pilots"]:
        pilot["gpus_total"] = pilot.pop("gpus")
    for attempt in before["wconv_attempts"]:
        attempt["gpus_per_trial"] = attempt.pop("gpus")
        attempt["where"] = attempt.pop("place")
    for slot in before["wconv_slots"]:
        slot["stage"] = str(slot["stage"]).replace("fixed", "reference")
        density = slot.pop("density")
        slot["arm"] = None
        slot["point"] = density and f'{{"density": {density}}}'
    for attribute in before["trial_user_attributes"]:
        attribute["value_json"] = str(attribute["value_json"]).replace("fixed", "reference")
        attribute["key"] = str(attribute["key"]).replace("replicate", "seed_index")
    before["wconv_schema"] = [{"version": SCHEMA_VERSION}]
    old, new = (rows["wconv_studies"][0].pop("config") for rows in (before, after))
    # The digest of the definition stands in every provenance.
    digest = config_of(json.loads(str(new))).digest()
    text = json.dumps(after, default=str, sort_keys=True).replace(digest, recorded_digest(before))
    assert old != new
    assert text == json.dumps(before, default=str, sort_keys=True)


def test_an_upgraded_definition_has_the_new_keys_and_is_that_of_the_same_study(
    version_2: URL,
) -> None:
    before, *_ = rows_of(version_2)["wconv_studies"]
    upgrade_storage(version_2)

    storage = open_storage(version_2)
    status = read_status(storage, "tiny")
    storage.close()
    assert status.config.references() == {"plain": (1.0, 1.0), "paper": (0.1, 0.9)}
    recorded = json.loads(str(before["provenance"]))
    # An agent compares it with that of the definition as it reads it.
    now = recorded | {"config_sha256": status.config.digest()}
    assert status.provenance == now != recorded


def test_an_upgraded_study_of_version_2_is_shown_and_goes_on(version_2: URL) -> None:
    upgrade_storage(version_2)

    storage = open_storage(version_2)
    status = read_status(storage, "tiny")
    overview = read_overview(storage, "tiny")
    mirror = TrialMirror(storage, status.config)
    mirror.refresh()
    storage.close()
    assert [row.state for row in status.trials] == (
        ["complete"] * 3 + ["pruned", "failed", "leased", "open"] + ["closed"] * 4
    )
    first, paper, *_ = status.trials
    assert (first.density, paper.density, status.trials[-1].density) == (
        (1.0, 1.0),
        (0.1, 0.9),
        None,
    )
    assert first.metrics == {"psnr_db": 29.75, "test_psnr_db": 29.25, "epoch_s": 1.5}
    assert (first.provenance["gpu"], status.trials[-1].provenance) == ("NVIDIA A100", {})
    assert [(each.where, each.reason, each.count) for each in status.failures] == [
        ("conv.py:30", "CUDA out of memory", 3),
        ("loop.py:211", "CUDA error: no kernel image", 1),
    ]
    assert overview.usage.attempts_h > 0
    assert overview.pilots[0].gpu_hours > 0
    assert overview.provenance["data"] == {"photographs": "d1" * 32}
    assert mirror.points == {row.point for row in status.trials if row.point}


def test_a_study_with_the_keys_of_version_2_is_the_same_study_after_the_upgrade(
    version_2: URL,
) -> None:
    upgrade_storage(version_2)

    storage = open_storage(version_2)
    there = check_same(storage, StudyConfig.model_validate(TODAY))
    config = load_config(storage, "tiny")
    storage.close()
    (row,) = rows_of(version_2)["wconv_studies"]
    recorded = json.loads(str(row["provenance"]))
    assert there
    # Every key is written, so that no default of a later program takes its place.
    assert json.loads(str(row["config"])) == config.plain()
    assert recorded["config_sha256"] == config.digest()
    assert not any("definition" in each for each in differences(recorded, program_of(config)))


# On PostgreSQL the tables of a dump give no keys to new rows.
@pytest.mark.parametrize("old_storage", ["sqlite"], indirect=True)
def test_a_half_done_study_of_version_3_goes_on_to_its_end(old_storage: OldStorage) -> None:
    url = old_storage(3)
    with pytest.raises(StorageError, match="has tables of version 3, this program needs 4"):
        create_storage(url)
    upgrade_storage(url)

    storage = open_storage(url)
    searcher = Searcher(storage, load_config(storage, "tiny"))
    before = read_status(storage, "tiny")
    searcher.work()
    after = read_status(storage, "tiny")
    params = {trial.number: tuple(trial.params.values()) for trial in optuna_trials(storage)}
    storage.close()
    assert [row.point for row in before.trials[:3]] == [
        Point((1.0, 1.0)),
        Point((0.1, 0.9)),
        Point((0.9960979609200857, 1.485729401689231)),
    ]
    assert [row.point for row in after.trials[:6]] == [row.point for row in before.trials[:6]]
    assert after.complete
    assert after.confirmation is not None
    assert after.confirmation.selected is not None
    # What Optuna's dashboard shows is what was trained.
    assert params == {row.trial: row.density for row in after.trials}


def test_a_smoke_run_of_version_2_is_known_as_one(version_2: URL) -> None:
    engine = create_engine(version_2)
    with engine.begin() as connection:
        connection.execute(
            update(STUDIES).values(
                config=func.replace(STUDIES.c.config, '"study": "tiny"', '"study": "tiny_smoke"')
            )
        )
    engine.dispose()

    upgrade_storage(version_2)

    storage = open_storage(version_2)
    assert load_config(storage, "tiny").is_smoke
    storage.close()


def test_upgrading_again_changes_nothing(version_1: URL) -> None:
    upgrade_storage(version_1)

    assert upgrade_storage(version_1) == (SCHEMA_VERSION, SCHEMA_VERSION)


def test_tables_that_pilots_use_are_left_alone(version_1: URL) -> None:
    engine = create_engine(version_1)
    with engine.begin() as connection:
        leased = SLOTS.c.state == SlotState.LEASED
        connection.execute(update(SLOTS).where(leased).values(lease_until=4e9))
    engine.dispose()

    with pytest.raises(StorageError, match=r"pilots hold 1 trial\(s\), and cannot run on"):
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


def recorded_digest(rows: dict[str, list[dict[str, object]]]) -> str:
    provenance = json.loads(str(rows["wconv_studies"][0]["provenance"]))
    return str(provenance["config_sha256"])


def rows_of(url: URL) -> dict[str, list[dict[str, object]]]:
    """Return all rows of a database as it holds them, by table."""
    engine = create_engine(url)
    tables = MetaData()
    with engine.connect() as connection:
        tables.reflect(connection)
        rows = {
            each.name: [
                dict(row)
                for row in connection.execute(
                    select(each).order_by(*each.primary_key.columns)
                ).mappings()
            ]
            for each in tables.sorted_tables
        }
    engine.dispose()
    return rows


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
