"""No two transactions wait for each other: whoever waits for a study holds no other lock."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, text
from sqlalchemy.exc import OperationalError

from tests.sweep.postgres import Server
from tests.sweep.slots.test_table import failure, leased
from tests.sweep.tiny import TINY
from wconv_sweep.run_folder import RunFolder
from wconv_sweep.slots import studies
from wconv_sweep.slots.leases import study_row
from wconv_sweep.slots.retry import retry
from wconv_sweep.slots.stages import add_ablation
from wconv_sweep.slots.table import SlotTable
from wconv_sweep.storage import trial_rows
from wconv_sweep.storage.open_storage import Storage, create_storage, open_storage
from wconv_sweep.study.config import StudyConfig
from wconv_sweep.study.point import Point

pytestmark = pytest.mark.slow

CONFIG = StudyConfig.model_validate(
    TINY
    | {
        "search": TINY["search"] | {"seeds": 2},
        "confirm": {"candidates": 1, "seeds": 2},
        "budget": {"trials": 20, "max_attempts": 1},
    }
)
LARGER = CONFIG.model_copy(update={"budget": CONFIG.budget.model_copy(update={"trials": 30})})
ROWS = ("wconv_slots", "wconv_attempts", "trials", "studies")


def test_whoever_waits_for_a_study_holds_no_other_lock(postgres: Server, tmp_path: Path) -> None:
    url = postgres.database()
    with closing(create_storage(url)) as holder, closing(open_storage(url)) as other:
        folder = RunFolder(tmp_path)
        studies.create_or_extend(holder, CONFIG, folder, "local")
        slots = SlotTable(other, CONFIG, lease_s=600.0)
        canary = leased(slots)
        slots.report(canary, 1, 20.0, {})
        slots.break_(canary, failure())
        mine = leased(slots)
        calls: dict[str, Callable[[], object]] = {
            "launch": lambda: studies.create_or_extend(other, LARGER, folder, "local"),
            "retry": lambda: retry(other, CONFIG.study, None),
            "lease": lambda: slots.lease("node/pilot-1/1"),
            "propose": lambda: slots.set_point(mine, Point((0.75,))),
            "take over": lambda: slots.interrupt_all_of("node/pilot-1/", "its pilot died"),
            "break": lambda: slots.break_(mine, failure()),
            "ablation": lambda: add_ablation(other, CONFIG),
            "stop": lambda: studies.stop(other, CONFIG.study),
            "resume": lambda: studies.reopen(other, CONFIG.study),
        }

        held = [name for name, call in calls.items() if _holds_while_waiting(holder, call)]

    assert held == []


def test_a_launch_does_not_wait_for_a_lease_that_waits_for_it(
    postgres: Server, tmp_path: Path
) -> None:
    url = postgres.database()
    with closing(create_storage(url)) as agent, closing(open_storage(url)) as other:
        studies.create_or_extend(agent, CONFIG, RunFolder(tmp_path), "local")

        def launch() -> bool:
            return studies.create_or_extend(other, LARGER, RunFolder(tmp_path), "local")

        with ThreadPoolExecutor(1) as pool:
            with agent.write() as connection:
                row = study_row(connection, CONFIG.study, lock=True)
                launched = pool.submit(launch)
                _wait_for_a_lock(connection, launched)
                trial_rows.create_trial(connection, row.optuna_study_id, {})

            assert launched.result() is False


def _holds_while_waiting(holder: Storage, call: Callable[[], object]) -> bool:
    """Return whether a call that waits for the study has locked rows of others' tables."""
    with ThreadPoolExecutor(1) as pool:
        with holder.write() as connection:
            study_row(connection, CONFIG.study, lock=True)
            called = pool.submit(call)
            _wait_for_a_lock(connection, called)
            held = not all(_are_free(connection, table) for table in ROWS)
        called.result()
    return held


def _are_free(connection: Connection, table: str) -> bool:
    with connection.begin_nested() as attempt:
        try:
            connection.execute(text(f"SELECT 1 FROM {table} FOR UPDATE NOWAIT"))
        except OperationalError:
            return False
        attempt.rollback()
    return True


def _wait_for_a_lock(connection: Connection, called: "Future[Any]") -> None:
    waiting = text(
        "SELECT count(*) FROM pg_stat_activity "
        "WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    while not connection.scalar(waiting):
        # pg_stat_activity is a picture that one transaction keeps.
        connection.execute(text("SELECT pg_stat_clear_snapshot()"))
        assert not called.done(), called.exception()
