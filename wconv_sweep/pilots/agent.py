"""The agent: the process of a pilot on one node, which leases slots for its lanes."""

import contextlib
import logging
import os
import queue
import secrets
import threading
import time
import uuid
from typing import Any

from wconv_sweep.errors import ConfigurationError, StorageAway
from wconv_sweep.log import event
from wconv_sweep.pilots.agent_parts import AgentParts
from wconv_sweep.pilots.end import POLL_S, PilotEnd
from wconv_sweep.pilots.lane import Lane
from wconv_sweep.pilots.node_share import NodeShare
from wconv_sweep.pilots.order import PilotOrder
from wconv_sweep.pilots.own_name import watch_own_name
from wconv_sweep.pilots.place import PilotPlace
from wconv_sweep.pilots.registry import PilotRecord
from wconv_sweep.pilots.spool import replay
from wconv_sweep.run_folder import RunFolder
from wconv_sweep.search.pruning import Pruning
from wconv_sweep.search.trial_mirror import mirrors_of
from wconv_sweep.slots.provenance import host_and_job, program_of, provenance_of
from wconv_sweep.slots.table import Lease, NoSlot, SlotTable
from wconv_sweep.storage.open_storage import Storage
from wconv_sweep.study.config import StudyConfig

logger = logging.getLogger(__name__)

WAIT_S = 2.0
"""Pause before an agent whose lanes have no work asks again, seconds."""


class Agent:
    """Leases slots for the lanes of one node."""

    def __init__(
        self,
        order: PilotOrder,
        place: PilotPlace,
        share: NodeShare,
        config: StudyConfig,
        storage: Storage,
        end: PilotEnd,
        *,
        began_s: float,
    ) -> None:
        """
        Args:
            order: of the pilot.
            place: of this agent.
            share: of the node that its lanes have.
            config: of the study.
            storage: holds the study.
            end: of the pilot.
            began_s: when the pilot got its GPUs, seconds since 1970.
        """
        self._began_s = began_s
        self._order, self._place, self._end = order, place, end
        self._config, self._storage = config, storage
        self._folder = RunFolder(order.run_folder)
        self._slots = SlotTable(
            storage,
            config,
            lease_s=order.lease_s,
            gpus_per_trial=config.trial.ranks if order.gpus_used_per_node else 0,
            provenance=_origin(config),
        )
        self._owner = f"{place.prefix}{os.getpid()}-{uuid.uuid4().hex[:8]}"
        self._share = share
        self._news: queue.SimpleQueue[Lane | None] = queue.SimpleQueue()
        """Lanes that have become idle; None where one of the others has taken its first step."""
        self._busy: set[Lane] = set()
        self._failure: BaseException | None = None
        self._show_life_at = 0.0

    def work(self) -> str | None:
        """Lease and train until there is nothing left to lease; return why.

        None: the pilot's time is up, or it was asked to stop.
        """
        self._parts = self._storage.retrying(
            self._begin, patience_s=max(0.0, self._end.patience_s), wait=self._end.wait
        )
        lanes = [
            Lane(self._parts, number, lambda: self._news.put(None))
            for number in range(len(self._share.lanes))
        ]
        logger.info(
            event(
                "pilot started",
                study=self._order.study,
                owner=self._owner,
                lanes=len(lanes),
                nodes=len(self._share.group),
                trials=self._folder.path,
            )
        )
        watch_own_name()
        idle, nonce, why = lanes, secrets.token_hex(4), None
        while not self._end.has_begun:
            if idle and self._has_time():
                leases = self._lease(len(idle), nonce)
                if isinstance(leases, list):
                    # A nonce of its own for each lease: see `SlotTable.lease_many`.
                    nonce = secrets.token_hex(4)
                    for lease in leases:
                        self._start(idle.pop(0), lease)
                elif isinstance(leases, NoSlot) and leases is not NoSlot.WAIT and not self._busy:
                    why = leases.value
                    break
            elif not self._busy:
                self._end.begin()
                break
            idle += self._wait_for_lanes(WAIT_S)
            self._look_alive()
        self._wind_up()
        return why

    def end(self) -> bool:
        """Record the end; return whether the pilot's other agents have all ended."""
        try:
            return self._parts.record.end()
        except StorageAway:
            # This is unknown here; the agent of the first node decides for all.
            return self._place.node == 0

    def has_work(self) -> bool:
        """Return whether a pilot that started now would find a slot."""
        try:
            return self._slots.has_open()
        except StorageAway:
            return True

    def _begin(self) -> AgentParts:
        """Register this agent in the storage, with the reports left behind by its predecessor."""
        order, place, config = self._order, self._place, self._config
        record = PilotRecord(
            self._storage,
            order.study,
            place,
            gpus_total=self._gpus_total,
            held_s=time.time() - self._began_s,
        )
        self._replay()
        freed = self._slots.interrupt_all_of(
            place.dead_prefix, "its pilot died", but=lambda owner: not place.is_dead(owner)
        )
        if freed:
            logger.info(event("trials of a dead pilot handed back", trials=freed))
        mirrors = mirrors_of(self._storage, config)
        return AgentParts(
            order=order,
            place=place,
            share=self._share,
            config=config,
            storage=self._storage,
            slots=self._slots,
            folder=self._folder,
            mirrors=mirrors,
            pruning=Pruning(config, mirrors),
            record=record,
            end=self._end,
        )

    @property
    def _gpus_total(self) -> int:
        """GPUs that this agent accounts for: those of its group; the first agent adds the rest."""
        nodes = len(self._share.group)
        left = self._order.nodes % nodes if self._place.node == 0 else 0
        return self._order.gpus_held_per_node * (nodes + left)

    def _has_time(self) -> bool:
        """Return whether a trial that starts now reaches its first checkpoint.

        It can be asked for one as soon as it trains, and the grace is for that.
        """
        start_up_s = self._parts.start_up_s
        return start_up_s == 0 or self._end.training_left_s > start_up_s

    def _lease(self, count: int, nonce: str) -> list[Lease] | NoSlot | None:
        """Return the next leases; None while the storage is away."""
        try:
            # First: a replaced agent leases nothing.
            self._show_life()
            if self._end.superseded:
                return None
            self._replay()
            stepped = any(lane.has_stepped for lane in self._busy)
            leases = self._slots.lease_many(self._owner, count, nonce=nonce, stepped=stepped)
        except StorageAway as error:
            logger.warning(event("storage is away, nothing leased", why=error))
            return None
        return leases

    def _look_alive(self) -> None:
        """Send heartbeats, also while all lanes are busy."""
        if time.monotonic() >= self._show_life_at:
            try:
                self._show_life()
            except StorageAway:
                # The lanes report it; the next try comes as late as after a success.
                self._show_life_at = time.monotonic() + self._order.lease_s / 6

    def _show_life(self) -> None:
        self._parts.sign_of_life()
        self._show_life_at = time.monotonic() + self._order.lease_s / 6

    def _replay(self) -> None:
        replayed = replay(
            self._slots,
            self._config.objective.metric,
            self._folder,
            is_dead=self._place.is_dead,
            own=self._owner,
        )
        if replayed:
            logger.info(event("reports of dead agents handed over", attempts=replayed))

    def _start(self, lane: Lane, lease: Lease) -> None:
        self._busy.add(lane)
        # Daemons: a thread that hangs beyond all grace must not keep the process.
        threading.Thread(
            target=self._train,
            args=(lane, lease),
            name=f"lane-{lane.number}/trial-{lease.trial}",
            daemon=True,
        ).start()

    def _train(self, lane: Lane, lease: Lease) -> None:
        try:
            lane.train(lease)
        except BaseException as error:
            # A bug: raised by the main thread once the other lanes have ended.
            self._failure = error
            self._end.begin()
        finally:
            self._news.put(lane)

    def _wait_for_lanes(self, seconds: float) -> list[Lane]:
        """Return the lanes that have become idle, after a while or as soon as there is news."""
        until, news = time.monotonic() + seconds, list[Lane | None]()
        begun = self._end.has_begun
        while not news and time.monotonic() < until and self._end.has_begun == begun:
            with contextlib.suppress(queue.Empty):
                # A signal does not end this wait.
                news.append(self._news.get(timeout=POLL_S))
        with contextlib.suppress(queue.Empty):
            while True:
                news.append(self._news.get_nowait())
        ended = [lane for lane in news if lane is not None]
        self._busy.difference_update(ended)
        return ended

    def _wind_up(self) -> None:
        """Wait for the working lanes, until their time is used up."""
        if self._busy:
            logger.info(event("stopping", why=self._end.why, lanes=len(self._busy)))
        while self._busy and not self._end.is_hopeless:
            self._wait_for_lanes(WAIT_S)
            self._look_alive()
        for lane in self._busy:
            logger.error(event("trial does not end, pilot ends without it", lane=lane.number))
        if self._failure is not None:
            raise self._failure


def _origin(config: StudyConfig) -> dict[str, Any]:
    try:
        return provenance_of(config) | host_and_job()
    except ConfigurationError as error:
        # Its trial will break for the same reason, and the study will show it.
        logger.warning(event("data cannot be checked", why=error))
        return program_of(config) | host_and_job()
