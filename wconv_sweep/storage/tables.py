"""The tables of wconv-sweep, beside Optuna's in the same database.

A study has slots, a slot has attempts. Times are seconds since 1970 on the database's clock.
A change of a table raises SCHEMA_VERSION and adds a step to `wconv_sweep.storage.migrations`.
"""

import enum
import json
from typing import Any

from sqlalchemy import (
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
)

from wconv_sweep.study.point import Point, point_of

SCHEMA_VERSION = 4

MOVED = "wconv:moved_from"
"""System attribute of an Optuna trial whose point was moved: what was proposed."""

STARTED_AGAIN = "wconv:started_again"
"""System attribute of an Optuna trial whose program went back to its first step: the attempt."""

METADATA = MetaData()


class FreeText(TypeDecorator[str]):
    """Text of any origin, such as the message of an exception, with odd characters escaped.

    PostgreSQL refuses a NUL in a text, and both databases refuse a byte of a file name that is not
    UTF-8.
    """

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: object) -> str | None:
        """Return the stored form."""
        if value is None:
            return None
        return value.replace("\0", "\\x00").encode("utf-8", "backslashreplace").decode()


class JsonColumn(TypeDecorator[Any]):
    """A value that JSON can hold, stored as its text; None is NULL."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: object, dialect: object) -> str | None:
        """Return the stored form."""
        return None if value is None else json.dumps(value)

    def process_result_value(self, value: str | None, dialect: object) -> Any:
        """Return what was stored."""
        return None if value is None else json.loads(value)


class PointColumn(TypeDecorator[Point]):
    """A point, stored as JSON, see `Point.plain`; None is NULL."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Point | None, dialect: object) -> str | None:
        """Return the stored form."""
        return None if value is None else json.dumps(value.plain())

    def process_result_value(self, value: str | None, dialect: object) -> Point | None:
        """Return what was stored."""
        return None if value is None else point_of(json.loads(value))


class StudyState(enum.StrEnum):
    """The state of a study, which says what agents may do."""

    ACTIVE = "active"
    STOPPED = "stopped"
    """No slot is leased; running trials end at their next checkpoint."""
    BROKEN = "broken"
    """As stopped, by the circuit breaker; `reason` says why."""
    CAPPED = "capped"
    """As stopped, because the GPU-hours are used up; computed each time, never stored."""


class SlotState(enum.StrEnum):
    """The state of a slot."""

    CLOSED = "closed"
    """Its point is unknown yet: it follows from trials that have not ended."""
    OPEN = "open"
    LEASED = "leased"
    COMPLETE = "complete"
    PRUNED = "pruned"
    FAILED = "failed"
    SKIPPED = "skipped"
    """Ended without training; `reason` says why."""


ENDED = (SlotState.COMPLETE, SlotState.PRUNED, SlotState.FAILED, SlotState.SKIPPED)


class AttemptOutcome(enum.StrEnum):
    """The end of an attempt at a slot."""

    RUNNING = "running"
    COMPLETE = "complete"
    PRUNED = "pruned"
    INTERRUPTED = "interrupted"
    """Free: the next attempt continues from the checkpoint."""
    BROKEN = "broken"
    """Counted: after `budget.max_attempts` of them the slot fails."""


class Stage(enum.StrEnum):
    """The purpose of a slot."""

    REFERENCE = "reference"
    SEARCH = "search"
    CONFIRM = "confirm"
    """Trains the best densities and plain convolution on fresh seeds."""
    ABLATION = "ablation"
    """Trains plain convolution with one half of the effect of the selected density."""


SEARCHING = (Stage.REFERENCE, Stage.SEARCH)
"""The stages whose trials select a density."""


SCHEMA = Table("wconv_schema", METADATA, Column("version", Integer, nullable=False))

STUDIES = Table(
    "wconv_studies",
    METADATA,
    Column("study", String(100), primary_key=True),
    Column("optuna_study_id", Integer, nullable=False),
    Column("config", JsonColumn, nullable=False),  # the definition, defaults filled in
    Column("version", String(50), nullable=False),  # of wconv-sweep, that made the study
    # One folder for good, whatever --runs says later: pilots in another one would neither see the
    # locks nor the checkpoints. Relative to the database's folder, so that both may be moved.
    Column("run_folder", Text, nullable=False),
    # Also in the run folder, so that no two storages share one.
    Column("uid", String(32), nullable=False),
    Column("cluster", Text, nullable=False),  # of the last launch: a name, or the path of a file
    Column("state", String(10), nullable=False),
    Column("reason", FreeText),
    # Attempts up to this one do not count for the circuit breaker: `resume` closes it again.
    Column("breaker_from", Integer, nullable=False),
    Column("created_at", Float, nullable=False),
    # Version and commit of the code, whether it was changed, hash of the definition,
    # checksums of the data. An agent with another code or definition refuses to train.
    Column("provenance", JsonColumn),
)

PILOTS = Table(
    "wconv_pilots",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("study", String(100), ForeignKey(STUDIES.c.study), nullable=False, index=True),
    Column("pilot", Integer, nullable=False),  # its number within the study
    Column("host", FreeText, nullable=False),
    Column("job", FreeText),  # of the scheduler, where there is one
    Column("gpus_total", Integer, nullable=False),  # that it holds, in use or idle
    Column("started_at", Float, nullable=False),
    Column("seen_at", Float, nullable=False),  # its last heartbeat
    Column("ended_at", Float),
)

SLOTS = Table(
    "wconv_slots",
    METADATA,
    Column("slot", Integer, primary_key=True),
    Column("study", String(100), ForeignKey(STUDIES.c.study), nullable=False),
    Column("position", Integer, nullable=False),  # order of leasing, from 0
    Column("stage", String(10), nullable=False),
    Column("label", String(100)),  # of a reference density, a candidate or a part of an ablation
    Column("arm", String(10)),  # of a slot that is searched, where the search has two
    Column("point", PointColumn),  # null until it is known
    Column("replicate", Integer, nullable=False),  # seeds are derived from it
    Column("state", String(10), nullable=False),
    Column("attempt", Integer, nullable=False),  # the last one, from 1; 0: never leased
    Column("broken", Integer, nullable=False),  # broken attempts so far
    Column("owner", FreeText),
    Column("lease_until", Float),
    Column("trial_id", Integer),  # Optuna's key
    Column("trial", Integer),  # Optuna's number within the study
    Column("epoch", Integer, nullable=False),  # epochs reported
    Column("value", Float),  # the objective after that epoch
    Column("metrics", JsonColumn),  # validation after that epoch, test once complete
    Column("provenance", JsonColumn),  # once complete
    Column("reason", FreeText),  # why it failed or was skipped
    UniqueConstraint("study", "position"),
    Index("wconv_slots_by_state", "study", "state", "position"),
)

ATTEMPTS = Table(
    "wconv_attempts",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("slot", Integer, ForeignKey(SLOTS.c.slot), nullable=False, index=True),
    Column("attempt", Integer, nullable=False),
    Column("owner", FreeText, nullable=False),
    Column("outcome", String(12), nullable=False),
    Column("error", FreeText),  # class of the exception
    Column("where", FreeText),  # file:line of it
    Column("reason", FreeText),
    Column("traceback", FreeText),
    Column("gpus_per_trial", Integer, nullable=False),  # that its ranks hold, or share
    Column("provenance", JsonColumn),  # host, job, code, torch, GPU, driver
    Column("started_at", Float, nullable=False),
    Column("ended_at", Float),
    UniqueConstraint("slot", "attempt"),
)
