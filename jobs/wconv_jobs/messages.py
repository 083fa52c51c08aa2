"""The narrow, typed channel between an agent and the ranks of one trial.

A Unix stream socket that carries one JSON object a line. Every rank connects, and keeps the
connection for as long as it lives: it is also the rank's lifeline. Ranks are children of the fork
server and not of the agent, so no signal tells them that the agent has died; the end of the socket
does, also while a rank hangs in a collective. Importing this module does not import torch.
"""

import enum
import traceback
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

EXIT_AGENT_GONE = 75
"""Exit status of a rank whose agent has closed the channel or died (EX_TEMPFAIL of sysexits.h)."""


class Verdict(enum.StrEnum):
    """The agent's answer to a report; all ranks obey it together, at the end of that epoch."""

    CONTINUE = "continue"
    PRUNE = "prune"
    STOP = "stop"
    """End now and let a later attempt continue from the checkpoint."""


class Demand(enum.Enum):
    """The demand of an agent on a trial, polled at least once a second."""

    GO = "go"
    CHECKPOINT = "checkpoint"
    """All ranks write a checkpoint after a step that they agree on, also in the middle of an
    epoch, and end as "stopped"."""
    ABORT = "abort"
    """All ranks end at once; their work since the last checkpoint is lost."""


CHECKPOINT_LINE = b"checkpoint\n"
"""Message to rank 0 beside verdicts, at any time: `Demand.CHECKPOINT`."""


LEAVE_LINE = b"leave\n"
"""Message to all ranks before the agent hangs up: a program of the user's gets SIGTERM, and a
little time, before it is killed."""


class ChannelError(RuntimeError):
    """Something other than a message came through the channel."""


class Message(BaseModel):
    """Base of all messages on the channel."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="constants")


class Hello(Message):
    """First line of every rank."""

    kind: Literal["hello"] = "hello"
    rank: int


class Left(Message):
    """Last line of the other ranks when training ended in an orderly way."""

    kind: Literal["left"] = "left"
    rank: int


class Stepped(Message):
    """The trial has taken the first step of its attempt; sent by rank 0."""

    kind: Literal["stepped"] = "stepped"


class Report(Message):
    """State of the trial after an epoch; sent by rank 0, answered with a `Verdict`."""

    kind: Literal["report"] = "report"
    epoch: int
    """Number of epochs finished, from 1; 0 before a measurement of the speed begins."""
    metrics: dict[str, float]
    """Metrics of the validation set, and `train_loss`."""
    epoch_s: float
    """Wall time of the epoch, validation included, seconds."""
    steady: bool = False
    """Whether its attempt had trained an epoch before: then the time holds neither what a process
    does once nor an interruption. False in the checkpoints of earlier versions."""


STEADY_EPOCHS = "steady_epochs"
"""Key in the provenance of a complete trial: the number of epochs that its time is measured by."""


class Finished(Message):
    """Last line of rank 0 when training ended in an orderly way."""

    kind: Literal["finished"] = "finished"
    ending: Literal["complete", "pruned", "stopped"]
    epoch: int
    metrics: dict[str, float]
    """Of a complete trial: see `wconv_jobs.training.loop.TrainingResult`; and its `epoch_s`,
    see `wconv_jobs.training.epoch_time`. Of a measurement: see `wconv_jobs.training.speed.Speed`.
    """
    provenance: dict[str, str]
    """Versions and hardware that produced the result."""


class Broken(Message):
    """A rank's exception."""

    kind: Literal["broken"] = "broken"
    rank: int
    error: str
    """Class of the exception."""
    reason: str
    """What the exception says."""
    where: str
    """`file:line` of the innermost frame: with `error` it tells equal failures."""
    traceback: str
    final: bool = False
    """True when a repetition is certain to end the same way, as with a diverged training."""

    @classmethod
    def of(cls, error: Exception, rank: int, *, final: bool = False) -> Self:
        """Return an exception as a message."""
        frames = traceback.extract_tb(error.__traceback__)
        return cls(
            rank=rank,
            error=type(error).__name__,
            reason=str(error),
            where=f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else "unknown",
            traceback="".join(traceback.format_exception(error)),
            final=final,
        )


class NodeEnded(Message):
    """Last line of another node, see `wconv_jobs.ranks.node`, after all its ranks have ended."""

    kind: Literal["node_ended"] = "node_ended"
    death: Broken | None
    """Of the rank that was the first to end in a disorderly way by itself."""
    error: Broken | None
    """Why the node could not start its ranks."""
    lost: int | None
    """The first rank that ended without a word."""


AnyMessage = Hello | Left | Stepped | Report | Finished | Broken | NodeEnded
_ANY_MESSAGE: TypeAdapter[AnyMessage] = TypeAdapter(
    Annotated[AnyMessage, Field(discriminator="kind")]
)


def parse(line: bytes) -> AnyMessage:
    """Return the message that one line holds.

    Raises:
        ChannelError: the line is not a message; the text shows its start.
    """
    try:
        return _ANY_MESSAGE.validate_json(line)
    except ValidationError as error:
        raise ChannelError(f"a rank sent {line[:200]!r}, which is not a message") from error
