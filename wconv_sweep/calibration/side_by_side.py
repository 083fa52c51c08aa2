"""Trains trials of one shape side by side, as an agent does, and measures each of them."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from wconv_jobs.messages import Broken, Demand, Report, Verdict
from wconv_jobs.ranks.fork_server import start_fork_server
from wconv_jobs.ranks.placement import Placement
from wconv_jobs.ranks.run import RanksAborted, run_ranks
from wconv_jobs.spec import TrialSpec
from wconv_jobs.training.speed import Speed
from wconv_sweep.calibration.order import CalibrationOrder
from wconv_sweep.evidence.calibration_record import Shape, in_shape
from wconv_sweep.pilots.node_share import lane_devices
from wconv_sweep.study.point import Point
from wconv_sweep.study.search_space import weighted_density
from wconv_sweep.study.trial_spec import trial_spec


@dataclass(frozen=True)
class OneTrial:
    """The measurement of one of them."""

    speed: Speed
    start_s: float
    """From the start of its processes until it was ready, seconds."""
    provenance: dict[str, str]


def train_side_by_side(order: CalibrationOrder, shape: Shape) -> list[OneTrial] | Broken:
    """Return the measurements of all trials, or how one of them broke.

    None of their processes is left. Their time begins when all of them are ready.
    """
    start_fork_server()  # with torch, which an agent has loaded before most of its trials
    together = _Together(order, shape)
    with ThreadPoolExecutor(shape.lanes) as threads:
        try:
            found = list(threads.map(together.train, range(shape.lanes)))
        finally:
            together.end()
    broken = [each for each in found if isinstance(each, Broken)]
    return broken[0] if broken else [each for each in found if isinstance(each, OneTrial)]


class _Together:
    """What the threads share."""

    def __init__(self, order: CalibrationOrder, shape: Shape) -> None:
        self._order, self._shape = order, shape
        self._ready = threading.Barrier(shape.lanes)
        self._ended = threading.Event()

    def end(self) -> None:
        """Let all of them end at once."""
        self._ended.set()
        self._ready.abort()

    def train(self, lane: int) -> OneTrial | Broken | None:
        """Train one; None if it was ended because of another."""
        begun_s, ready_s = time.monotonic(), 0.0

        def begin(_: Report) -> Verdict:
            nonlocal ready_s
            ready_s = time.monotonic()
            self._ready.wait()
            return Verdict.CONTINUE

        order, ranks = self._order, self._shape.ranks
        logs = order.folder / "ranks" / f"{time.monotonic_ns()}_{lane}"
        devices = lane_devices(lane, order.gpus, ranks) if order.gpus else ()
        try:
            result = run_ranks(
                _spec(order, self._shape, logs),
                placement=Placement(ranks, devices, trials_per_gpu=self._shape.per_gpu),
                log_folder=logs,
                on_report=begin,
                on_tick=lambda: Demand.ABORT if self._ended.is_set() else Demand.GO,
                measured_s=order.seconds,
            )
        except (RanksAborted, threading.BrokenBarrierError):
            return None
        except BaseException:
            self.end()
            raise
        if isinstance(result, Broken):
            self.end()
            return result
        return OneTrial(Speed(**result.metrics), ready_s - begun_s, result.provenance)


def _spec(order: CalibrationOrder, shape: Shape, folder: Path) -> TrialSpec:
    config = in_shape(order.config, shape)
    return trial_spec(config, Point(weighted_density(config)), 0, folder)
