"""The studies of a storage: created once, extended, stopped and resumed."""

import json
import os
import uuid
import warnings
from dataclasses import dataclass
from importlib.metadata import version

import optuna
from optuna.storages import RDBStorage
from sqlalchemy import Connection, func, insert, select, update

from wconv_sweep import trial_rows
from wconv_sweep.errors import StudyError
from wconv_sweep.run_folder import RunFolder
from wconv_sweep.status import study_row
from wconv_sweep.storage import Storage
from wconv_sweep.study_config import StudyConfig, config_of
from wconv_sweep.tables import ATTEMPTS, SLOTS, STUDIES, SlotState, Stage, StudyState

_MAY_CHANGE = {("budget", "trials"), ("description",)}


def optuna_client(storage: Storage) -> RDBStorage:
    """Return Optuna's own client of the storage."""
    return RDBStorage(
        storage.optuna_url(),
        engine_kwargs={"connect_args": {"timeout": 60}},
        skip_table_creation=True,
    )


def load_config(storage: Storage, study: str) -> StudyConfig:
    """Return the definition that a study was created with.

    Raises:
        StudyError: the storage holds no such study.
    """
    with storage.read() as connection:
        return config_of(study_row(connection, storage, study).config)


@dataclass(frozen=True)
class Place:
    """Where a study's files lie and its pilots run."""

    folder: RunFolder
    uid: str
    cluster: str
    """Profile of the last launch: a name, or the path of a file."""


def place_of(storage: Storage, study: str) -> Place:
    """Return the place of a study.

    Raises:
        StudyError: the storage holds no such study.
    """
    with storage.read() as connection:
        row = study_row(connection, storage, study)
    folder = RunFolder((storage.folder / row.run_folder).resolve())
    return Place(folder, row.uid, row.cluster)


def create_or_extend(
    storage: Storage, config: StudyConfig, folder: RunFolder, cluster: str
) -> bool:
    """Bring a study with its slots into being; return False when it was there.

    One effect, however often and by however many processes it is called. A study that exists may
    be launched again with a larger budget, which adds slots.

    Args:
        storage: gets the study.
        config: its definition.
        folder: of a new study; one that exists keeps its own.
        cluster: profile that `resume` uses from now on, by name or path.

    Raises:
        StudyError: a study of this name exists with another definition.
    """
    check_same(storage, config)
    _create_in_optuna(storage, config)
    with storage.write() as connection:
        existing = _existing(connection, config.study)
        if existing is not None:
            _refuse_differences(storage, config, existing)
            _extend(connection, config, existing, cluster)
            return False
        optuna_study_id = _optuna_study_id(connection, config.study)
        connection.execute(
            insert(STUDIES).values(
                study=config.study,
                optuna_study_id=optuna_study_id,
                config=_as_text(config),
                version=version("wconv-sweep"),
                run_folder=os.path.relpath(folder.path, storage.folder),
                uid=uuid.uuid4().hex,
                cluster=cluster,
                state=StudyState.ACTIVE,
                breaker_from=0,
                created_at=storage.now(),
            )
        )
        fixed = config.fixed_points()
        for position, (label, density) in enumerate(fixed.items()):
            _add_slot(connection, config, position, Stage.FIXED, label, density)
        for position in range(len(fixed), config.budget.trials):
            _add_slot(connection, config, position, Stage.SEARCH, None, None)
    return True


def check_same(storage: Storage, config: StudyConfig) -> bool:
    """Return whether the study exists.

    Raises:
        StudyError: it does, with another definition.
    """
    with storage.read() as connection:
        existing = _existing(connection, config.study)
    if existing is not None:
        _refuse_differences(storage, config, existing)
    return existing is not None


def stop(storage: Storage, study: str) -> None:
    """Let nobody claim a slot any more, and running trials end at their next checkpoint."""
    load_config(storage, study)
    with storage.write() as connection:
        connection.execute(
            update(STUDIES).where(STUDIES.c.study == study).values(state=StudyState.STOPPED)
        )


def reopen(storage: Storage, study: str) -> None:
    """Let agents claim slots again, also after the circuit breaker, which starts anew."""
    with storage.write() as connection:
        newest = connection.scalar(select(func.max(ATTEMPTS.c.id)))
        connection.execute(
            update(STUDIES)
            .where(STUDIES.c.study == study, STUDIES.c.state != StudyState.ACTIVE)
            .values(state=StudyState.ACTIVE, reason=None, breaker_from=newest or 0)
        )


def _existing(connection: Connection, study: str) -> StudyConfig | None:
    content = connection.scalar(select(STUDIES.c.config).where(STUDIES.c.study == study))
    return None if content is None else config_of(content)


def _refuse_differences(storage: Storage, config: StudyConfig, existing: StudyConfig) -> None:
    before, now = _leaves(existing.plain()), _leaves(config.plain())
    changed = [
        f"{'.'.join(key)} was {json.dumps(before.get(key))}, is now {json.dumps(now.get(key))}"
        for key in sorted(before.keys() | now.keys())
        if key not in _MAY_CHANGE and before.get(key) != now.get(key)
    ]
    if config.budget.trials < existing.budget.trials:
        changed.append(
            f"budget.trials was {existing.budget.trials}, is now {config.budget.trials} "
            "(it may only grow)"
        )
    if changed:
        raise StudyError(
            f"study {config.study} exists in {storage.name} with another definition: "
            f"{'; '.join(changed)}. Give the new one another name, or undo the change."
        )


def _extend(
    connection: Connection, config: StudyConfig, existing: StudyConfig, cluster: str
) -> None:
    for position in range(existing.budget.trials, config.budget.trials):
        _add_slot(connection, config, position, Stage.SEARCH, None, None)
    connection.execute(
        update(STUDIES)
        .where(STUDIES.c.study == config.study)
        .values(config=_as_text(config), cluster=cluster)
    )


def _add_slot(
    connection: Connection,
    config: StudyConfig,
    position: int,
    stage: Stage,
    label: str | None,
    density: tuple[float, ...] | None,
) -> None:
    connection.execute(
        insert(SLOTS).values(
            study=config.study,
            position=position,
            stage=stage,
            label=label,
            density=None if density is None else json.dumps(density),
            replicate=0,
            state=SlotState.OPEN,
            attempt=0,
            broken=0,
            epoch=0,
        )
    )


def _create_in_optuna(storage: Storage, config: StudyConfig) -> None:
    client = optuna_client(storage)
    # Optuna tells on stderr that it created the study, or that it was there.
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        study = optuna.create_study(
            study_name=config.study,
            storage=client,
            direction=config.direction,
            load_if_exists=True,
        )
        if not study.metric_names:
            with warnings.catch_warnings():
                # Experimental, says Optuna; without it the dashboard calls the metric "Objective".
                warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
                study.set_metric_names([config.objective.metric])
    finally:
        optuna.logging.set_verbosity(verbosity)
        client.remove_session()
        client.engine.dispose()


def _optuna_study_id(connection: Connection, study: str) -> int:
    study_id, trials = trial_rows.study_id_and_trials(connection, study)
    if trials:
        raise StudyError(
            f"study {study}: the storage holds an Optuna study of this name with {trials} trials "
            "that wconv-sweep did not make. Give this one another name."
        )
    return study_id


def _leaves(value: object, key: tuple[str, ...] = ()) -> dict[tuple[str, ...], object]:
    if isinstance(value, dict):
        return {
            leaf: found
            for name, inner in value.items()
            for leaf, found in _leaves(inner, (*key, str(name))).items()
        }
    return {key: value}


def _as_text(config: StudyConfig) -> str:
    return json.dumps(config.plain())
