"""Trains one trial on fresh processes, the ranks, and finds out how it ended."""

import platform
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from wconv_jobs.messages import (
    Broken,
    Demand,
    Finished,
    Hello,
    Left,
    NodeEnded,
    Report,
    Stepped,
    Verdict,
)
from wconv_jobs.program_trial import ProgramTrial
from wconv_jobs.ranks.launcher import Launcher
from wconv_jobs.ranks.node_order import NodeOrder
from wconv_jobs.ranks.outcome import Outcome
from wconv_jobs.ranks.placement import Placement
from wconv_jobs.ranks.rank_death import rank_died
from wconv_jobs.ranks.rank_server import RankServer
from wconv_jobs.ranks.remote_node import RemoteNode
from wconv_jobs.ranks.rendezvous import LOOPBACK, rendezvous
from wconv_jobs.spec import TrialSpec

TICK_S = 1.0
"""Longest time between two calls of `on_tick`, seconds."""
START_S = 600.0
"""Time for all ranks to start, seconds: other nodes may have to load torch from a slow disk."""


class RanksAborted(Exception):
    """`on_tick` asked for the end; the ranks' work since the last checkpoint is lost."""


def run_ranks(
    spec: TrialSpec | ProgramTrial,
    *,
    placement: Placement,
    log_folder: Path,
    on_report: Callable[[Report], Verdict],
    on_tick: Callable[[], Demand],
    on_first_step: Callable[[], None] = lambda: None,
    measured_s: float | None = None,
) -> Finished | Broken:
    """Train one trial on fresh processes, on this node and others, and return how it ended.

    The processes come from a fork server that has torch loaded: the first trial of an agent pays
    the import, later ones start in 0.35 s instead of 3 s. A `Launcher` watches them on each node.
    Several threads may train a trial each; they share the fork server. Callbacks
    run in the calling thread. No rank of this node is left when the function returns or raises,
    and none on another that can still be reached; there, the ranks end within a minute.

    Args:
        spec: what to train, or the program of the user's that does.
        placement: number of processes, their nodes and GPUs.
        log_folder: gets what each rank prints; on a file system that the nodes share.
        on_report: answers a report of rank 0.
        on_tick: called at least every `TICK_S`; says what the agent wants.
        on_first_step: called once the trial has taken a step; for a program of the user's, never.
        measured_s: only measure the speed, for so long, seconds; then there is one report, of
            epoch 0, whose answer lets the time begin. See `wconv_jobs.training.speed`.

    Raises:
        RanksAborted: `on_tick` returned `Demand.ABORT`.
        Exception: whatever a callback raises, and OSError when a `NodeCommand` is not there.
    """
    log_folder.mkdir(parents=True, exist_ok=True)
    with rendezvous(placement.ranks) as port, RankServer() as server, ExitStack() as parts:
        here, *elsewhere = _orders(spec, placement, log_folder, port, measured_s)
        nodes = [
            parts.enter_context(RemoteNode(node, order, server.wake))
            for node, order in zip(placement.other_nodes, elsewhere, strict=True)
        ]
        launcher = parts.enter_context(Launcher(here, server))
        outcome = Outcome(ranks_save=isinstance(spec, ProgramTrial))
        missing = set(range(placement.ranks))
        start_until = time.monotonic() + START_S
        while True:
            # Asked before reading: the last words of ranks that have ended are then in reach.
            ended_here = launcher.ended
            ended = ended_here and all(node.ended for node in nodes)
            said = server.messages(0 if ended else TICK_S)
            for message in said + [words for node in nodes for words in node.messages()]:
                if isinstance(message, Report):
                    server.answer(on_report(message))
                elif isinstance(message, Stepped):
                    on_first_step()
                elif isinstance(message, Hello):
                    missing.discard(message.rank)
                elif not isinstance(message, Left):
                    outcome.note(message)
            outcome.lost(server.lost)
            if ended_here:
                outcome.note(_end_of(launcher))
            if ended:
                return outcome.decide()
            if missing and time.monotonic() > start_until:
                why = rank_died(f"did not start within {START_S:.0f} s", min(missing))
                outcome.note(NodeEnded(death=why, error=None, lost=None))
            demand = on_tick()
            # A finished trial is finished, also when the agent has run out of time.
            if demand is Demand.ABORT and outcome.finished is None:
                server.ask_to_leave()
                raise RanksAborted
            if demand is Demand.CHECKPOINT:
                server.demand_checkpoint()
            if outcome.wants_end:
                server.hang_up()
                for node in nodes:
                    node.hang_up()


def _orders(
    spec: TrialSpec | ProgramTrial,
    placement: Placement,
    log_folder: Path,
    port: int,
    measured_s: float | None,
) -> list[NodeOrder]:
    """Return every node's part of the ranks, this node's first."""
    several = bool(placement.other_nodes)
    address = placement.address or platform.node() if several else LOOPBACK
    devices = [placement.devices, *(node.devices for node in placement.other_nodes)]
    return [
        NodeOrder(
            trial=spec,
            ranks=placement.ranks,
            ranks_here=placement.ranks_per_node,
            first_rank=number * placement.ranks_per_node,
            devices=devices[number],
            trials_per_gpu=placement.trials_per_gpu,
            address=address,
            port=port,
            log_folder=log_folder / f"node_{number}" if number else log_folder,
            measured_s=measured_s,
        )
        for number in range(len(devices))
    ]


def _end_of(launcher: Launcher) -> NodeEnded:
    return NodeEnded(death=launcher.silent_death, error=launcher.error, lost=None)
