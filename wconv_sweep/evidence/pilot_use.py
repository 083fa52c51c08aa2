"""The pilots of a study: their state, their nodes, and their GPU-hours."""

import enum
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, case, select

from wconv_sweep.evidence.accounting import AGENT_GPU_HOURS, is_at_work
from wconv_sweep.storage.tables import PILOTS


class AgentState(enum.StrEnum):
    """The state of an agent."""

    WORKING = "working"
    SILENT = "silent"
    """Not ended, but without a heartbeat for `accounting.SILENCE_S`."""
    ENDED = "ended"


@dataclass(frozen=True)
class AgentUse:
    """One agent: a node of a pilot, from its start to its end."""

    pilot: int
    """Number of the pilot within the study."""
    host: str
    job: str | None
    """The job and its restarts, `1234_3.0`; None on this machine."""
    state: AgentState
    gpu_hours: float
    """See `accounting.AGENT_GPU_HOURS`."""


@dataclass(frozen=True)
class Agents:
    """Agents of a study, one on each node of each of its pilots."""

    working: int
    silent: int
    ended: int


@dataclass(frozen=True)
class PilotUse:
    """One pilot, over all starts of its job."""

    pilot: int
    """Its number within the study."""
    job: str | None
    """As SLURM prints it, `1234_3`; None on this machine."""
    hosts: tuple[str, ...]
    """The nodes of its last start."""
    state: AgentState
    """Working while one of its agents is."""
    gpu_hours: float


def agents_of(connection: Connection, now: ColumnElement[float], study: str) -> list[AgentUse]:
    """Return the agents of a study in the order of their start.

    Args:
        connection: to the storage.
        now: the database's clock.
        study: its name.
    """
    state = case(
        (PILOTS.c.ended_at.is_not(None), AgentState.ENDED),
        (is_at_work(now), AgentState.WORKING),
        else_=AgentState.SILENT,
    )
    rows = connection.execute(
        select(
            *(PILOTS.c.pilot, PILOTS.c.host, PILOTS.c.job, state.label("state")),
            AGENT_GPU_HOURS.label("gpu_hours"),
        )
        .where(PILOTS.c.study == study)
        .order_by(PILOTS.c.id)
    )
    return [
        AgentUse(row.pilot, row.host, row.job, AgentState(row.state), float(row.gpu_hours))
        for row in rows
    ]


def count_agents(agents: Sequence[AgentUse]) -> Agents:
    """Count agents by state."""
    counter = Counter(agent.state for agent in agents)
    return Agents(**{str(state): counter[state] for state in AgentState})


def pilots_of(agents: Sequence[AgentUse]) -> list[PilotUse]:
    """Return the pilots that agents belong to, in the order of their numbers.

    Args:
        agents: in the order of their start.
    """
    by_number: dict[int, list[AgentUse]] = {}
    for agent in agents:
        by_number.setdefault(agent.pilot, []).append(agent)
    return [_pilot(number, by_number[number]) for number in sorted(by_number)]


def _pilot(number: int, agents: Sequence[AgentUse]) -> PilotUse:
    last = agents[-1].job
    states = {agent.state for agent in agents}
    return PilotUse(
        pilot=number,
        job=None if last is None else last.rpartition(".")[0],
        hosts=tuple(dict.fromkeys(agent.host for agent in agents if agent.job == last)),
        state=next(state for state in AgentState if state in states),
        gpu_hours=sum(agent.gpu_hours for agent in agents),
    )
