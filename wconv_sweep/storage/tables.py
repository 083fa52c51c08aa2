"""The tables of wconv-sweep, which stand beside Optuna's in the same database.

A study has slots, a slot has attempts. Times are seconds since 1970 on the database's clock.
Whoever changes a table raises SCHEMA_VERSION and adds a step to `wconv_sweep.storage.migrations`.
"""

import enum

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

SCHEMA_VERSION = 3

METADATA = MetaData()


class FreeText(TypeDecorator[str]):
    """Text of any origin, such as the message of an exception; what no database takes is escaped.

    PostgreSQL knows no NUL in a text, and neither database a byte of a file name that is not
    UTF-8.
    """

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: object) -> str | None:
        """Return what is stored."""
        if value is None:
            return None
        return value.replace("\0", "\\x00").encode("utf-8", "backslashreplace").decode()


class StudyState(enum.StrEnum):
    """What agents may do with a study."""

    ACTIVE = "active"
    STOPPED = "stopped"
    """Nobody claims; running trials end at their next checkpoint."""
    BROKEN = "broken"
    """As stopped, by the circuit breaker; `reason` says why."""
    CAPPED = "capped"
    """As stopped, because the GPU-hours are used up; worked out anew each time, never stored."""


class SlotState(enum.StrEnum):
    """Where a slot is in its life."""

    CLOSED = "closed"
    """Its density is not known yet: it follows from trials that have not ended."""
    OPEN = "open"
    LEASED = "leased"
    COMPLETE = "complete"
    PRUNED = "pruned"
    FAILED = "failed"
    SKIPPED = "skipped"
    """Ended without training; `reason` says why."""


ENDED = (SlotState.COMPLETE, SlotState.PRUNED, SlotState.FAILED, SlotState.SKIPPED)


class AttemptOutcome(enum.StrEnum):
    """How a worker's try at a slot ended."""

    RUNNING = "running"
    COMPLETE = "complete"
    PRUNED = "pruned"
    INTERRUPTED = "interrupted"
    """Free: the next attempt continues from the checkpoint."""
    BROKEN = "broken"
    """Counted: after `budget.max_attempts` of them the slot fails."""


class Stage(enum.StrEnum):
    """What a slot is for."""

    FIXED = "fixed"
    SEARCH = "search"
    CONFIRM = "confirm"
    """Trains the best densities and plain convolution on fresh seeds."""
    ABLATION = "ablation"
    """Trains plain convolution with one half of what the named density does."""


SEARCHING = (Stage.FIXED, Stage.SEARCH)
"""The stages that a density is chosen from."""


SCHEMA = Table("wconv_schema", METADATA, Column("version", Integer, nullable=False))

STUDIES = Table(
    "wconv_studies",
    METADATA,
    Column("study", String(100), primary_key=True),
    Column("optuna_study_id", Integer, nullable=False),
    Column("config", Text, nullable=False),  # the definition as JSON, defaults filled in
    Column("version", String(50), nullable=False),  # of wconv-sweep, that made the study
    # One folder for good, whatever --runs says later: pilots in another one would neither see the
    # locks nor the checkpoints. Relative to the database's folder, so that both may be moved.
    Column("run_folder", Text, nullable=False),
    # Stands in the run folder, too, so that no two storages share one.
    Column("uid", String(32), nullable=False),
    Column("cluster", Text, nullable=False),  # of the last launch: a name, or the path of a file
    Column("state", String(10), nullable=False),
    Column("reason", FreeText),
    # Attempts up to this one do not count for the circuit breaker: `resume` closes it again.
    Column("breaker_from", Integer, nullable=False),
    Column("created_at", Float, nullable=False),
    # JSON object: version and commit of the code, whether it was changed, hash of the definition,
    # checksums of the data. An agent with another code or definition refuses to train.
    Column("provenance", Text),
)

PILOTS = Table(
    "wconv_pilots",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("study", String(100), ForeignKey(STUDIES.c.study), nullable=False, index=True),
    Column("pilot", Integer, nullable=False),  # its number within the study
    Column("host", FreeText, nullable=False),
    Column("job", FreeText),  # of the scheduler, where there is one
    Column("gpus", Integer, nullable=False),  # that it holds, working or not
    Column("started_at", Float, nullable=False),
    Column("seen_at", Float, nullable=False),  # its last sign of life
    Column("ended_at", Float),
)

SLOTS = Table(
    "wconv_slots",
    METADATA,
    Column("slot", Integer, primary_key=True),
    Column("study", String(100), ForeignKey(STUDIES.c.study), nullable=False),
    Column("position", Integer, nullable=False),  # order of claiming, from 0
    Column("stage", String(10), nullable=False),
    Column("label", String(100)),  # of a fixed point, a candidate or a part of an ablation
    Column("density", Text),  # JSON list, outermost first; null until it is known
    Column("replicate", Integer, nullable=False),  # seeds are derived from it
    Column("state", String(10), nullable=False),
    Column("attempt", Integer, nullable=False),  # the last one, from 1; 0: never claimed
    Column("broken", Integer, nullable=False),  # broken attempts so far
    Column("owner", FreeText),
    Column("lease_until", Float),
    Column("trial_id", Integer),  # Optuna's key
    Column("trial", Integer),  # Optuna's number within the study
    Column("epoch", Integer, nullable=False),  # epochs reported
    Column("value", Float),  # the objective after that epoch
    Column("metrics", Text),  # JSON object: validation after that epoch, test once complete
    Column("provenance", Text),  # JSON object, once complete
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
    Column("place", FreeText),  # file:line of it
    Column("reason", FreeText),
    Column("traceback", FreeText),
    Column("gpus", Integer, nullable=False),  # that its ranks hold
    Column("provenance", Text),  # JSON object: host, job, code, torch, GPU, driver
    Column("started_at", Float, nullable=False),
    Column("ended_at", Float),
    UniqueConstraint("slot", "attempt"),
)
