"""Opens the stages of a study one after another: search, confirmation, ablation.

Slots of a later stage exist from the start, closed: what they train follows from trials
that have not ended. An agent that finds nothing else to lease opens the next one, in one
transaction; of several at once, the second finds it open.
"""

from collections.abc import Sequence
from itertools import product

from sqlalchemy import Connection, Row, func, select, update

from wconv_sweep.errors import StudyError
from wconv_sweep.evidence.candidates import Candidates, choose_candidates
from wconv_sweep.evidence.confirmation import confirmation_of
from wconv_sweep.evidence.results import TrialRow
from wconv_sweep.evidence.study_status import read_status
from wconv_sweep.slots.leases import study_row
from wconv_sweep.storage.open_storage import Storage
from wconv_sweep.storage.slot_plan import first_fresh_replicate, plan_ablation
from wconv_sweep.storage.tables import SLOTS, SlotState, Stage
from wconv_sweep.study.config import StudyConfig
from wconv_sweep.study.point import Point, SearchArm
from wconv_sweep.study.search_config import ConfirmSpec

ORDER = (Stage.REFERENCE, Stage.SEARCH, Stage.CONFIRM, Stage.ABLATION)


def stage_due(connection: Connection, study: str) -> Stage | None:
    """Return the first stage with closed slots, once all before it have ended.

    That is the search itself, if the density that its closed slots repeat was never proposed.
    """
    at_work = _stages(connection, study, (SlotState.OPEN, SlotState.LEASED))
    closed = _stages(connection, study, (SlotState.CLOSED,))
    first = next((stage for stage in ORDER if stage in closed), None)
    if first is None or any(ORDER.index(stage) <= ORDER.index(first) for stage in at_work):
        return None
    return first


def open_stage(storage: Storage, config: StudyConfig) -> None:
    """Open the stage that is due, or end its slots if there is nothing to train."""
    with storage.read() as connection:
        due = stage_due(connection, config.study)
    if due is None:
        return
    trials = read_status(storage, config.study).trials
    # Outside of the transaction: fitting takes seconds. The trials before have ended, so that
    # every agent gets the same result.
    chosen = _candidates(trials, config) if due is Stage.CONFIRM else Candidates({}, {})
    with storage.write() as connection:
        study_row(connection, config.study, lock=True)
        if stage_due(connection, config.study) is not due:
            return
        slots = _closed(connection, config.study, due)
        if due is Stage.CONFIRM:
            arms = {**chosen.plain, **chosen.weighted}
            _open_confirmation(connection, config, slots, arms, trials)
        elif due is Stage.ABLATION:
            _open_ablation(connection, config, slots, trials)
        else:
            _skip(connection, slots, "no density was proposed for it to repeat")


def check_ablation(config: StudyConfig) -> ConfirmSpec:
    """Return the confirmation whose density and seeds an ablation takes.

    Raises:
        StudyError: the study has none, or a trainer of the user's own.
    """
    if config.trainer is not None:
        raise StudyError(
            f"study {config.study}: an ablation changes how our own trainer applies a density, "
            f"and {config.trainer.name} trains this study. Launch it without --ablate."
        )
    if not config.claims_gain:
        raise StudyError(
            f"study {config.study}: an ablation shows where a gain comes from, and none is "
            "claimed where plain convolution was not tuned (search.arms: weighted). Launch it "
            "without --ablate."
        )
    if config.confirm is None:
        raise StudyError(
            f"study {config.study} has no confirmation, whose density and seeds an ablation "
            "takes. Launch it under another name with `confirm: {candidates: 2, seeds: 5}`."
        )
    return config.confirm


def add_ablation(storage: Storage, config: StudyConfig) -> None:
    """Add the slots of an ablation to a study, once; they open when the confirmation has ended.

    Raises:
        StudyError: the study has no confirmation.
    """
    confirm = check_ablation(config)
    first = first_fresh_replicate(config)
    with storage.write() as connection:
        study_row(connection, config.study, lock=True)
        mine = SLOTS.c.study == config.study
        if connection.scalar(select(func.count()).where(mine, SLOTS.c.stage == Stage.ABLATION)):
            return
        position = connection.scalar(select(func.max(SLOTS.c.position)).where(mine)) or 0
        replicates = range(first, first + confirm.seeds)
        for number, planned in enumerate(plan_ablation(replicates), start=position + 1):
            connection.execute(SLOTS.insert().values(planned.row(config.study, number)))


def _candidates(trials: Sequence[TrialRow], config: StudyConfig) -> Candidates:
    """Return what the slots of a confirmation are for.

    Studies of earlier versions have slots for one candidate of plain convolution, however many
    there are of weighted.
    """
    assert config.confirm is not None
    slots = sum(row.stage == Stage.CONFIRM for row in trials)
    of_plain = slots // config.confirm.seeds - config.confirm.candidates
    return choose_candidates(trials, config, of_plain)


def _open_confirmation(
    connection: Connection,
    config: StudyConfig,
    slots: Sequence[Row[tuple[object, ...]]],
    arms: dict[str, Point],
    trials: Sequence[TrialRow],
) -> None:
    if not arms:
        nothing = "no trial has completed to select a density from"
        plain = "no density was found that differs from plain convolution"
        untuned = "no trial of plain convolution has completed to compare with"
        completed = {row.arm for row in trials if row.state is SlotState.COMPLETE}
        is_tuned = not config.has_two_arms or SearchArm.PLAIN in completed
        _skip(connection, slots, (plain if is_tuned else untuned) if completed else nothing)
        return
    # Where candidates are the same, the others get more seeds. Seed by seed, so that whatever ends
    # the study early leaves pairs.
    seeds = len(slots) // len(arms)
    first = first_fresh_replicate(config)
    runs = product(range(first, first + seeds), arms.items())
    for slot, (replicate, (label, point)) in zip(slots, runs, strict=False):
        _open(connection, slot, point, label=label, replicate=replicate)
    _skip(connection, slots[seeds * len(arms) :], "candidates are equal: no seed left for all")


def _open_ablation(
    connection: Connection,
    config: StudyConfig,
    slots: Sequence[Row[tuple[object, ...]]],
    trials: Sequence[TrialRow],
) -> None:
    confirmation = confirmation_of(trials, config)
    selected = confirmation.selected if confirmation else None
    if selected is None:
        _skip(connection, slots, "no density was confirmed")
    elif 0.0 in selected.density:
        _skip(connection, slots, "a coefficient is 0, so its gradient alone has no effect")
    else:
        for slot in slots:
            _open(connection, slot, selected.point)


def _open(
    connection: Connection, slot: Row[tuple[object, ...]], point: Point, **values: object
) -> None:
    opened = {"state": SlotState.OPEN, "point": point} | values
    connection.execute(update(SLOTS).where(SLOTS.c.slot == slot.slot).values(opened))


def _skip(connection: Connection, slots: Sequence[Row[tuple[object, ...]]], reason: str) -> None:
    keys = [slot.slot for slot in slots]
    connection.execute(
        update(SLOTS).where(SLOTS.c.slot.in_(keys)).values(state=SlotState.SKIPPED, reason=reason)
    )


def _closed(connection: Connection, study: str, stage: Stage) -> Sequence[Row[tuple[object, ...]]]:
    wanted = select(SLOTS).where(
        SLOTS.c.study == study, SLOTS.c.stage == stage, SLOTS.c.state == SlotState.CLOSED
    )
    return connection.execute(wanted.order_by(SLOTS.c.position)).all()


def _stages(connection: Connection, study: str, states: Sequence[SlotState]) -> set[Stage]:
    wanted = select(SLOTS.c.stage).where(SLOTS.c.study == study, SLOTS.c.state.in_(states))
    return {Stage(stage) for stage in connection.scalars(wanted.distinct())}
