"""What an agent makes of the reports of a program of the user's."""

import threading
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tests.sweep.searching import Searcher, launched, study_of
from wconv_jobs.messages import Report, Verdict
from wconv_sweep.cli.views.status import status_json, status_view
from wconv_sweep.evidence.overview import read_overview
from wconv_sweep.pilots.agent_parts import AgentParts
from wconv_sweep.pilots.spool import Spool, adopt
from wconv_sweep.pilots.supervision import Following
from wconv_sweep.run_folder import RunFolder
from wconv_sweep.slots.table import Lease
from wconv_sweep.storage.open_storage import Storage
from wconv_sweep.storage.tables import SlotState
from wconv_sweep.study.trainer import TrainerSpec

SAYS = "1 interrupted trial(s) started again from step 1: the program does not go on from"


def _report(epoch: int, value: float = 30.0) -> Report:
    return Report(epoch=epoch, metrics={"psnr_db": value}, epoch_s=1.0)


def _searcher(storage: Storage, **settings: Any) -> Searcher:
    trainer = TrainerSpec(program="train.py", reports=4)
    config = study_of({"name": "random"}, trials=8, epochs=4, **settings)
    return launched(storage, config.model_copy(update={"trainer": trainer}))


def _followed(searcher: Searcher, lease: Lease, folder: RunFolder) -> Following:
    parts = SimpleNamespace(
        config=searcher.config,
        order=SimpleNamespace(lease_s=60.0),
        end=SimpleNamespace(has_begun=False),
        slots=searcher.slots,
        pruning=searcher.pruning,
        mirror_turn=threading.Lock(),
        start_up_s=0.0,
    )
    spool = Spool(searcher.slots, lease, "psnr_db", folder)
    return Following(cast("AgentParts", parts), lease, spool)


def _views(storage: Storage) -> tuple[str, Any]:
    overview = read_overview(storage, "tiny")
    parts = "\n".join(map(str, status_view(overview).renderables))
    return parts, status_json(overview)["started_again"]


@pytest.mark.parametrize(("first", "again"), [(1, 1), (2, 0), (3, 0)])
def test_status_says_that_a_program_started_again_after_an_interruption(
    sqlite_storage: Storage, first: int, again: int
) -> None:
    searcher = _searcher(sqlite_storage)
    folder = RunFolder.of(sqlite_storage.folder, "tiny")
    lease = searcher.lease()
    searcher.density_of(lease)
    for epoch in (1, 2):
        _followed(searcher, lease, folder).on_report(_report(epoch))
    searcher.slots.interrupt(lease, "preempted")

    for _ in range(2):  # interrupted, and continued, twice
        lease = searcher.lease()
        following = _followed(searcher, lease, folder)
        for epoch in range(first, 4):
            assert following.on_report(_report(epoch)) is Verdict.CONTINUE
        searcher.slots.interrupt(lease, "preempted")

    text, counted = _views(sqlite_storage)
    assert (SAYS in text, counted) == (again == 1, again)


@pytest.mark.parametrize(("last", "number"), [(3, 2), (4, 0), (5, 2)])
def test_status_says_that_programs_finished_at_another_step_than_the_study_has(
    sqlite_storage: Storage, last: int, number: int
) -> None:
    searcher = _searcher(sqlite_storage)
    folder = RunFolder.of(sqlite_storage.folder, "tiny")
    for _ in range(2):
        lease = searcher.lease()
        searcher.density_of(lease)
        following = _followed(searcher, lease, folder)
        for epoch in range(1, last + 1):
            following.on_report(_report(epoch))
        searcher.slots.complete(lease, {"psnr_db": 30.0}, {})

    overview = read_overview(sqlite_storage, "tiny")
    text = "\n".join(map(str, status_view(overview).renderables))

    said = f"{number} complete trial(s) finished at another step than 4, as trainer.reports has it"
    assert (said in text) is (number > 0)
    assert status_json(overview)["finished_elsewhere"] == number


def test_reports_that_an_agent_left_behind_are_no_new_start(sqlite_storage: Storage) -> None:
    searcher = _searcher(sqlite_storage)
    folder = RunFolder.of(sqlite_storage.folder, "tiny")
    lease = searcher.lease()
    searcher.density_of(lease)
    for epoch in (1, 2):
        _followed(searcher, lease, folder).on_report(_report(epoch))
    left = Spool(searcher.slots, lease, "psnr_db", folder)
    for epoch in (1, 2, 3):
        left.hold(_report(epoch))
    searcher.slots.interrupt(lease, "its pilot died")

    adopted = adopt(searcher.slots, searcher.lease(), "psnr_db", folder)

    assert adopted.epoch == 3
    assert _views(sqlite_storage)[1] == 0


def test_a_program_whose_trial_is_not_promising_is_told_to_stop(sqlite_storage: Storage) -> None:
    pruner = {"name": "median", "startup_trials": 2, "warmup_epochs": 1}
    searcher = _searcher(sqlite_storage, pruner=pruner)
    folder = RunFolder.of(sqlite_storage.folder, "tiny")
    verdicts = []
    for value in (30.0, 31.0, 32.0, 20.0):
        lease = searcher.lease()
        searcher.density_of(lease)
        following = _followed(searcher, lease, folder)
        told = [following.on_report(_report(epoch, value)) for epoch in (1, 2)]
        if Verdict.PRUNE in told:
            searcher.slots.prune(lease)
        else:
            searcher.slots.complete(lease, {"psnr_db": value}, {})
        verdicts.append(told)

    assert verdicts == [[Verdict.CONTINUE] * 2] * 3 + [[Verdict.CONTINUE, Verdict.PRUNE]]
    assert read_overview(sqlite_storage, "tiny").counts[SlotState.PRUNED] == 1
