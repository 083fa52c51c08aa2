"""A pilot ends when its time is up, when it is asked to, or when it has been replaced."""

import os
import signal
import threading
import time

import pytest

from wconv_sweep.pilots.end import HANG_S, PilotEnd
from wconv_sweep.pilots.running import obeying_signals

HOUR_S = 3600.0


@pytest.fixture
def end() -> PilotEnd:
    return PilotEnd(time.time() + HOUR_S, grace_s=120.0)


def test_trials_train_until_the_grace_begins(end: PilotEnd) -> None:
    ending = PilotEnd(time.time() + 119.0, grace_s=120.0)

    assert (end.has_begun, end.is_overdue) == (False, False)
    assert end.training_left_s == pytest.approx(HOUR_S - 120.0, abs=10)
    assert (ending.has_begun, ending.is_overdue, ending.training_left_s) == (True, False, 0.0)
    assert ending.why == "its time is up"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR2])
def test_a_signal_begins_the_end(end: PilotEnd, number: signal.Signals) -> None:
    with obeying_signals(end):
        os.kill(os.getpid(), number)
        # Handlers run in the main thread, between two instructions.
        threading.Event().wait(0.01)

    assert (end.has_begun, end.time_is_up, end.is_overdue) == (True, False, False)
    assert end.why == f"it was asked to stop ({number.name})"


def test_only_a_warning_of_slurm_means_that_nobody_has_cancelled_the_job(end: PilotEnd) -> None:
    other = PilotEnd(time.time() + HOUR_S, grace_s=120.0)

    end.on_signal(signal.SIGTERM)
    for number in (signal.SIGUSR2, signal.SIGTERM):
        other.on_signal(number)

    assert (end.may_go_on, other.may_go_on) == (False, True)


def test_after_the_grace_trials_are_killed_and_then_given_up(
    monkeypatch: pytest.MonkeyPatch, end: PilotEnd
) -> None:
    end.begin()
    began = time.monotonic()
    states = []
    for passed_s in (119.0, 121.0, 121.0 + HANG_S):
        monkeypatch.setattr(time, "monotonic", lambda passed_s=passed_s: began + passed_s)
        states.append((end.is_overdue, end.is_hopeless))

    assert states == [(False, False), (True, False), (True, True)]


def test_a_pilot_that_was_replaced_kills_its_trials_at_once(end: PilotEnd) -> None:
    end.superseded = True

    assert (end.has_begun, end.is_overdue, end.may_go_on) == (True, True, False)


def test_waiting_ends_when_half_of_the_grace_is_used_up() -> None:
    end = PilotEnd(time.time() + HOUR_S, grace_s=0.2)
    end.begin()

    assert end.wait(1000.0)
    assert not PilotEnd(time.time() + HOUR_S, grace_s=0.2).wait(0.01)
