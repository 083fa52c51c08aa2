"""A pilot's process on one node: its order, its signals and its end."""

import contextlib
import logging
import signal
import time
from collections.abc import Iterator
from pathlib import Path

from sqlalchemy import make_url

from wconv_sweep.errors import StorageAway
from wconv_sweep.log import configure_agent_logging, event
from wconv_sweep.pilots import slurm_pilot
from wconv_sweep.pilots.agent import Agent
from wconv_sweep.pilots.end import PilotEnd
from wconv_sweep.pilots.lock import pilot_lock
from wconv_sweep.pilots.machine import within_memory
from wconv_sweep.pilots.node_share import share_of
from wconv_sweep.pilots.notification import notify
from wconv_sweep.pilots.order import PilotOrder
from wconv_sweep.pilots.place import PilotPlace, place_of
from wconv_sweep.run_folder import RunFolder
from wconv_sweep.slots.definitions import load_frozen_config
from wconv_sweep.slots.table import NoSlot
from wconv_sweep.storage.open_storage import Storage, open_storage
from wconv_sweep.study.config import StudyConfig

logger = logging.getLogger(__name__)

START_PATIENCE_S = 600.0
"""Time that a pilot waits for its storage before it starts, seconds; its GPUs are idle."""


def run_pilot(order_path: str) -> None:
    """Work through the slots of a study until its budget, or the pilot's time, ends.

    On this machine a pilot holds a lock on its number. The holder of the lock knows that the pilot
    before is dead, so its slots are handed back at once; a second pilot of the same number ends.
    In SLURM a job is started again only after it has ended, or after its node was given up: what
    an earlier start of this job still holds is handed back at once, too.

    Args:
        order_path: file with a `PilotOrder`.

    Raises:
        ConfigurationError: the order does not fit the study or this process.
    """
    began_s = time.time()
    configure_agent_logging()
    order = PilotOrder.model_validate_json(Path(order_path).read_text("utf-8"))
    place = place_of(order, expand=slurm_pilot.hosts_in)
    ends_s = began_s + order.walltime_s
    if place.job is not None:
        times = slurm_pilot.job_times(place.job, order.walltime_s)
        began_s, ends_s = times.start_s, times.end_s
    end = PilotEnd(ends_s, order.grace_s)
    with obeying_signals(end), _alone(order, place) as alone:
        if not alone:
            logger.info(event("pilot is already running", pilot=place.pilot))
            return
        try:
            storage = open_storage(make_url(order.storage), patience_s=START_PATIENCE_S)
        except StorageAway as error:
            logger.error(event("storage is away, pilot ends", why=error))
            return
        try:
            config = storage.retrying(
                lambda: load_frozen_config(storage, order.study), patience_s=START_PATIENCE_S
            )
            _work(order, place, end, storage, config, began_s)
        except StorageAway as error:
            logger.error(event("storage is away, pilot ends", why=error))
        finally:
            storage.close()


@contextlib.contextmanager
def obeying_signals(end: PilotEnd) -> Iterator[None]:
    """Let SIGTERM and SIGUSR2 end the pilot meanwhile."""

    def obey(number: int, _: object) -> None:
        end.on_signal(number)

    before = {number: signal.signal(number, obey) for number in (signal.SIGTERM, signal.SIGUSR2)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _work(
    order: PilotOrder,
    place: PilotPlace,
    end: PilotEnd,
    storage: Storage,
    config: StudyConfig,
    began_s: float,
) -> None:
    share = share_of(within_memory(order, config.trial), config.trial, place.node)
    if share is None:
        logger.info(event("node has no trials of its own", node=place.node, host=place.host))
        return
    agent = Agent(order, place, share, config, storage, end, began_s=began_s)
    why = agent.work()
    last = agent.end()
    refused = why == NoSlot.CAPPED.value
    notify(storage, order.study, RunFolder(order.run_folder), refused=refused)
    if place.job is not None and order.requeue and why is None and end.may_go_on and last:
        _requeue(place.job, agent)
    logger.info(event("pilot ended", why=why or end.why))


def _requeue(job: str, agent: Agent) -> None:
    if agent.has_work() and slurm_pilot.requeue(job):
        logger.info(event("pilot goes back into the queue", job=job))


@contextlib.contextmanager
def _alone(order: PilotOrder, place: PilotPlace) -> Iterator[bool]:
    """Yield whether this is the only pilot of its number; for jobs, SLURM guarantees it."""
    if place.job is not None:
        yield True
        return
    with pilot_lock(RunFolder(order.run_folder), place.pilot) as locked:
        yield locked
