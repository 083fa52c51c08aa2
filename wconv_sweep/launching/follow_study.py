"""Follows a study that was launched, until its pilots have ended."""

import time
from collections.abc import Callable, Sequence

from wconv_sweep.errors import StorageAway, SweepFailed
from wconv_sweep.evidence.study_status import StudyStatus, read_status
from wconv_sweep.launching.start import Launched
from wconv_sweep.launching.submission import Pilots
from wconv_sweep.slots import studies
from wconv_sweep.storage.tables import StudyState

STATUS_S = 2.0
"""Time between two looks at a followed study, seconds: each takes 0.01 s of a core
that trains."""
_PILOTS_S = 0.1
"""Time between two looks at its pilots, seconds; these cost next to nothing."""


def follow(launched: Launched, on_status: Callable[[StudyStatus], None]) -> StudyStatus:
    """Show a study's progress until its pilots have ended, and return how it stands.

    Raises:
        SweepFailed: it ended without a result, or the pilots ended before the study.
    """
    pilots = launched.pilots
    while True:
        # In this order: what a pilot writes before it ends is in the status that follows.
        idle = pilots is None or pilots.all_ended()
        try:
            status = read_status(launched.storage, launched.study)
        except StorageAway:
            # Pilots wait for it; there is nothing to show meanwhile.
            if idle:
                raise
            _wait(pilots)
            continue
        on_status(status)
        if status.complete and (pilots is None or pilots.goes_on):
            # They find out on their own that nothing is left.
            break
        if idle and not (pilots and pilots.started) and status.state is StudyState.ACTIVE:
            if status.complete or status.capped:
                break
            # All pilots were those of an earlier command, about to stop.
            pilots = launched.start_pilots()
        elif idle:
            break
        _wait(pilots)
    _check_result(status, pilots.logs() if pilots else [])
    return status


def stop_and_wait(launched: Launched, on_status: Callable[[StudyStatus], None]) -> None:
    """Stop the study and wait until the running trials have reached a checkpoint."""
    studies.stop(launched.storage, launched.study)
    while launched.pilots and not launched.pilots.all_ended():
        on_status(read_status(launched.storage, launched.study))
        _wait(launched.pilots)


def _wait(pilots: Pilots | None) -> None:
    """Wait until it is time for the next look, or the pilots have ended."""
    until = time.monotonic() + STATUS_S
    while time.monotonic() < until and not (pilots is None or pilots.all_ended()):
        time.sleep(_PILOTS_S)


def _check_result(status: StudyStatus, logs: Sequence[str]) -> None:
    if status.state is StudyState.BROKEN:
        raise SweepFailed(
            f"study {status.study} was stopped by its circuit breaker: {status.reason}. "
            f"`wconv-sweep status --study {status.study}` shows the traceback; "
            f"`wconv-sweep resume --study {status.study}` tries again."
        )
    if status.complete and status.result is None:
        raise SweepFailed(
            f"study {status.study} ended without a completed trial: "
            f"`wconv-sweep status --study {status.study}` shows why."
        )
    if status.capped:
        assert status.usage.cap_h is not None
        raise SweepFailed(
            f"study {status.study} has used {status.usage.spent_h:.2f} of "
            f"{status.usage.cap_h:g} GPU-hours, and the next trial would pass the limit: "
            f"{status.budget - status.ended} trials are left. Raise budget.gpu_hours in the study "
            "and launch it again."
        )
    if not status.complete and status.state is StudyState.ACTIVE and status.reason:
        raise SweepFailed(
            f"study {status.study}: {status.reason}. Use the program and the data that the study "
            f"was started with, or `wconv-sweep resume --study {status.study} --accept-changes`."
        )
    if not status.complete and status.state is StudyState.ACTIVE:
        raise SweepFailed(
            f"the pilots of study {status.study} ended before the study: their time was up, or "
            f"they were killed. Their logs: {', '.join(logs)}. "
            f"`wconv-sweep resume --study {status.study}` continues it."
        )
