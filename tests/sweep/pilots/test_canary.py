"""Lanes of the agent that trains the canary begin after its first step, not after its epoch."""

import threading
from pathlib import Path
from typing import Any

import pytest

from tests.sweep.pilots.test_lanes import ordered
from wconv_jobs.messages import Finished, Report
from wconv_jobs.ranks import run as ranks_module
from wconv_sweep.evidence.study_status import read_status
from wconv_sweep.pilots import running

HANG_S = 60.0
METRICS = {"psnr_db": 28.0}


def test_the_other_lanes_train_while_the_canary_is_in_its_first_epoch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_once = threading.Barrier(3)

    def run_ranks(*_: Any, **agents: Any) -> Finished:
        agents["on_first_step"]()
        at_once.wait(HANG_S)
        agents["on_report"](Report(epoch=2, metrics=METRICS, epoch_s=0.1))
        return Finished(ending="complete", epoch=2, metrics=METRICS, provenance={})

    monkeypatch.setattr(ranks_module, "run_ranks", run_ranks)
    monkeypatch.setattr(running, "configure_agent_logging", lambda: None)
    storage, order = ordered(tmp_path, {}, lanes=3)

    running.run_pilot(str(order))

    status = read_status(storage, "tiny")
    storage.close()
    assert [(row.state, row.attempt) for row in status.trials] == [("complete", 1)] * 3


def test_a_study_that_breaks_before_its_first_step_breaks_one_trial_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_work = threading.Lock()

    def run_ranks(*_: Any, **agents: Any) -> Finished:
        assert at_work.acquire(blocking=False)
        agents["on_tick"]()
        at_work.release()
        raise ValueError("no such layer")

    monkeypatch.setattr(ranks_module, "run_ranks", run_ranks)
    monkeypatch.setattr(running, "configure_agent_logging", lambda: None)
    storage, order = ordered(tmp_path, {}, lanes=3)

    running.run_pilot(str(order))

    status = read_status(storage, "tiny")
    storage.close()
    assert status.state == "broken"
    assert "no such layer" in (status.reason or "")
