"""The studies of a storage: created once, extended, stopped and resumed."""

import json
import uuid
from collections.abc import Sequence
from importlib.metadata import version

from sqlalchemy import Connection, func, insert, select, update

from wconv_sweep.errors import StudyError
from wconv_sweep.run_folder import RunFolder
from wconv_sweep.slots import leases
from wconv_sweep.slots.definitions import load_config
from wconv_sweep.slots.provenance import Provenance, differences
from wconv_sweep.storage import study_rows
from wconv_sweep.storage.open_storage import Storage
from wconv_sweep.storage.slot_plan import GivenPoint, plan_search, plan_slots
from wconv_sweep.storage.tables import ATTEMPTS, SEARCHING, SLOTS, STUDIES, SlotState, StudyState
from wconv_sweep.study.config import MAY_CHANGE, StudyConfig, config_of
from wconv_sweep.study.note import study_note


def create_or_extend(
    storage: Storage,
    config: StudyConfig,
    folder: RunFolder,
    cluster: str,
    *,
    given: Sequence[GivenPoint] = (),
    provenance: Provenance | None = None,
    accept_changes: bool = False,
) -> bool:
    """Create a study with its slots; return False if it exists.

    Idempotent, also for calls of several processes. An existing study may be
    launched again with a larger budget, which adds slots.

    Args:
        storage: gets the study.
        config: its definition.
        folder: of a new study; one that exists keeps its own.
        cluster: profile that `resume` uses from now on, by name or path.
        given: densities that a new study starts its search with.
        provenance: of what its trials will come from.
        accept_changes: continue a study whose provenance has changed.

    Raises:
        StudyError: a study of this name exists with another definition, or its trials come from
            another program or other data.
    """
    check_same(storage, config)

    def extend() -> bool:
        """Return False if the study does not exist."""
        with storage.write() as connection:
            if not leases.lock_study(connection, config.study):
                return False
            existing = _existing(connection, config.study)
            assert existing is not None
            _refuse_differences(storage, config, existing)
            _record_provenance(connection, config.study, provenance, accept_changes)
            _extend(connection, config, existing, cluster)
            return True

    # A study that exists is locked before Optuna's row of it, as every agent does. So a launch
    # that holds Optuna's row, and finds that another made the study meanwhile, begins anew.
    if extend():
        return False
    created = _create(storage, config, folder, cluster, given, provenance)
    return created or not extend()


def check_same(storage: Storage, config: StudyConfig) -> StudyConfig | None:
    """Return the definition with which a study goes on; None if it does not exist.

    Raises:
        StudyError: it does, with another definition.
    """
    with storage.read() as connection:
        existing = _existing(connection, config.study)
    if existing is None:
        return None
    _refuse_differences(storage, config, existing)
    return _as_begun(config, existing)


def stop(storage: Storage, study: str) -> None:
    """Stop leasing slots, and let running trials end at their next checkpoint."""
    load_config(storage, study)
    with storage.write() as connection:
        connection.execute(
            update(STUDIES).where(STUDIES.c.study == study).values(state=StudyState.STOPPED)
        )


def check_provenance(
    storage: Storage, study: str, provenance: Provenance, *, accept_changes: bool
) -> None:
    """Record the provenance of the trials of a study from now on.

    Raises:
        StudyError: those so far come from another program or other data, and that is not accepted.
    """
    with storage.write() as connection:
        leases.study_row(connection, study, lock=True)
        _record_provenance(connection, study, provenance, accept_changes)


def reopen(storage: Storage, study: str) -> None:
    """Let agents lease slots again, also after the circuit breaker, which is reset."""
    with storage.write() as connection:
        newest = connection.scalar(select(func.max(ATTEMPTS.c.id)))
        connection.execute(
            update(STUDIES)
            .where(STUDIES.c.study == study, STUDIES.c.state != StudyState.ACTIVE)
            .values(state=StudyState.ACTIVE, breaker_from=newest or 0)
        )
        connection.execute(update(STUDIES).where(STUDIES.c.study == study).values(reason=None))


def _create(
    storage: Storage,
    config: StudyConfig,
    folder: RunFolder,
    cluster: str,
    given: Sequence[GivenPoint],
    provenance: Provenance | None,
) -> bool:
    """Create a study of ours with its slots; return False if another launch just has."""
    with storage.write() as connection:
        study_rows.create_study(connection, config.study, config.direction)
        # Locks Optuna's row: of two launches at once, the second sees what the first has written.
        optuna_study_id, trials = study_rows.study_id_and_trials(connection, config.study)
        if _existing(connection, config.study) is not None:
            return False
        _refuse_foreign(config.study, trials)
        metric, note = config.objective.metric, study_note(config)
        study_rows.describe_study(connection, optuna_study_id, metric, note)
        connection.execute(
            insert(STUDIES).values(
                study=config.study,
                optuna_study_id=optuna_study_id,
                config=config.plain(),
                version=version("wconv-sweep"),
                run_folder=storage.stored_path(folder.path),
                uid=uuid.uuid4().hex,
                cluster=cluster,
                state=StudyState.ACTIVE,
                breaker_from=0,
                created_at=storage.now(),
                provenance=None if provenance is None else dict(provenance),
            )
        )
        planned = enumerate(plan_slots(config, given))
        rows = [slot.row(config.study, position) for position, slot in planned]
        connection.execute(insert(SLOTS), rows)
    return True


def _existing(connection: Connection, study: str) -> StudyConfig | None:
    content = connection.scalar(select(STUDIES.c.config).where(STUDIES.c.study == study))
    return None if content is None else config_of(content)


def _refuse_differences(storage: Storage, config: StudyConfig, existing: StudyConfig) -> None:
    # Not `plain`, which leaves keys out.
    before, now = (
        _leaves(each.model_dump(mode="json", by_alias=True))
        for each in (existing, _as_begun(config, existing))
    )
    changed = [
        f"{'.'.join(key)} was {json.dumps(before.get(key))}, is now {json.dumps(now.get(key))}"
        for key in sorted(before.keys() | now.keys())
        if key not in MAY_CHANGE and before.get(key) != now.get(key)
    ]
    if config.budget.trials < existing.budget.trials:
        changed.append(
            f"budget.trials was {existing.budget.trials}, is now {config.budget.trials} "
            "(it may only grow)"
        )
    before_h, now_h = existing.budget.gpu_hours, config.budget.gpu_hours
    if now_h is not None and (before_h is None or now_h < before_h):
        was = "without limit" if before_h is None else f"{before_h:g}"
        changed.append(f"budget.gpu_hours was {was}, is now {now_h:g} (it may only grow)")
    if changed:
        raise StudyError(
            f"study {config.study} exists in {storage.name} with another definition: "
            f"{'; '.join(changed)}. Give the new one another name, or undo the change."
        )


def _record_provenance(
    connection: Connection, study: str, provenance: Provenance | None, accept_changes: bool
) -> None:
    if provenance is None:
        return
    known = select(STUDIES.c.provenance).where(STUDIES.c.study == study)
    recorded = connection.scalar(known) or {}
    found = differences(recorded, provenance)
    if found and not accept_changes:
        raise StudyError(
            f"study {study} was started with something else: {'; '.join(found)}. Its trials could "
            "not be compared. Undo the change, give the study another name, or continue it with "
            "--accept-changes."
        )
    if found or not recorded:
        # Earlier ones stay on record: completed trials come from them.
        earlier = recorded.pop("earlier", []) + ([recorded] if recorded else [])
        whole = dict(provenance) | ({"earlier": earlier} if earlier else {})
        connection.execute(
            update(STUDIES).where(STUDIES.c.study == study).values(provenance=whole)
        )


def _extend(
    connection: Connection, config: StudyConfig, existing: StudyConfig, cluster: str
) -> None:
    """Add the growth of the budget to the search, before the stages that follow."""
    further = list(plan_search(config, config.budget.trials - existing.budget.trials))
    if further:
        mine = SLOTS.c.study == config.study
        later = connection.execute(
            select(SLOTS.c.slot, SLOTS.c.position, SLOTS.c.state)
            .where(mine, SLOTS.c.stage.not_in(SEARCHING))
            .order_by(SLOTS.c.position.desc())
            .with_for_update()
        ).all()
        if any(row.state != SlotState.CLOSED for row in later):
            raise StudyError(
                f"study {config.study}: budget.trials is {config.budget.trials} now, but its "
                "search has ended and the confirmation has started, which further trials cannot "
                "change. Give the study another name to search on."
            )
        # The positions of closed slots are not fixed yet. From the last on: no two may be equal.
        for row in later:
            connection.execute(
                update(SLOTS)
                .where(SLOTS.c.slot == row.slot)
                .values(position=row.position + len(further))
            )
        searching = select(func.max(SLOTS.c.position)).where(mine, SLOTS.c.stage.in_(SEARCHING))
        last = connection.scalar(searching) or 0
        added = enumerate(further, start=last + 1)
        rows = [slot.row(config.study, position) for position, slot in added]
        connection.execute(insert(SLOTS), rows)
    connection.execute(
        update(STUDIES)
        .where(STUDIES.c.study == config.study)
        .values(config=_as_begun(config, existing).plain(), cluster=cluster)
    )


def _as_begun(config: StudyConfig, existing: StudyConfig) -> StudyConfig:
    """Return the definition with what a study keeps where a later launch says nothing of it.

    These are its cap, which leaving the option out must not lift, and the order of tensors in
    memory, whose default has changed since some studies began.
    """
    budget, recipe = config.budget, config.recipe
    if budget.gpu_hours is None:
        budget = budget.model_copy(update={"gpu_hours": existing.budget.gpu_hours})
    if recipe.memory_format is None:
        recipe = recipe.model_copy(update={"memory_format": existing.recipe.memory_format})
    return config.model_copy(update={"budget": budget, "recipe": recipe})


def _refuse_foreign(study: str, trials: int) -> None:
    if trials:
        raise StudyError(
            f"study {study}: the storage holds an Optuna study of this name with {trials} trials "
            "that wconv-sweep did not make. Give this one another name."
        )


def _leaves(value: object, key: tuple[str, ...] = ()) -> dict[tuple[str, ...], object]:
    if isinstance(value, dict):
        return {
            leaf: found
            for name, inner in value.items()
            for leaf, found in _leaves(inner, (*key, str(name))).items()
        }
    return {key: value}
