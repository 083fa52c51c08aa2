"""A program after PyTorch's tutorial, with eight lines more: killed twice, it ends exactly.

`tests/benchmarks/public_programs.py` kills whole studies of it and of others.
"""

import json
import os
import signal
from pathlib import Path

import pytest
import yaml

from tests.benchmarks.public_program_texts import PROGRAMS, added
from tests.jobs.trials import processes, wait_until
from tests.sweep.scenarios.test_local_sweep import agent_of, assert_all_gone, launch
from tests.sweep.scenarios.test_own_program import STUDY
from tests.sweep.tiny import Sweep

DDP = PROGRAMS["ddp"]
# From the second epoch on, each waits until the test has killed what it is to kill there.
WAITS = """\
            while 0 < epoch < 3 and not (trial.folder / f"go_{epoch}").exists():
                time.sleep(0.01)
"""


def _write(folder: Path) -> Path:
    begins = "            loss = self._run_epoch(epoch)\n"
    assert begins in DDP.text
    text = "import time\n" + DDP.text.replace(begins, WAITS + begins)
    (folder / "train.py").write_text(text, "utf-8")
    study = STUDY | {
        "trainer": {"program": "train.py", "reports": DDP.epochs},
        "objective": {"metric": DDP.metric, "goal": "minimize"},
        "budget": {"trials": 1},
    }
    path = folder / "tiny.yaml"
    path.write_text(yaml.safe_dump(study), "utf-8")
    return path


def _programs(sweep: Sweep) -> list[int]:
    """Return the processes of its ranks, in the order of their numbers."""
    found = []
    for process in processes():
        try:
            inside = sweep.folder.resolve() in Path(f"/proc/{process.pid}/cwd").resolve().parents
        except OSError:
            continue
        if inside and process.command.rstrip().endswith("train.py"):
            found.append(process.pid)
    return sorted(found)


@pytest.mark.slow
@pytest.mark.by_hand  # others kill programs in CI, and this one takes a minute
def test_a_program_whose_rank_and_agent_are_killed_trains_each_epoch_once(sweep: Sweep) -> None:
    trial = sweep.folder / "wconv_runs/tiny/trial_00000"
    reports = trial / "reports.jsonl"

    def await_report(epoch: int) -> None:
        wait_until(lambda: reports.exists() and len(reports.read_text().splitlines()) == epoch)

    sweep.run(*launch(_write(sweep.folder), "--detach"))
    await_report(1)
    os.kill(_programs(sweep)[-1], signal.SIGKILL)
    (trial / "program/go_1").touch()
    await_report(2)
    os.kill(agent_of(sweep), signal.SIGKILL)
    assert_all_gone(sweep)
    wait_until(lambda: not _programs(sweep))
    (trial / "program/go_2").touch()

    sweep.run("resume", "--study", "tiny")

    (status,) = json.loads(sweep.run("status", "--study", "tiny", "--json"))
    logs = [path.read_text("utf-8") for path in sweep.folder.glob("wconv_runs/tiny/pilots/*.err")]
    assert added(DDP.text) <= 8
    assert status["slots"]["complete"] == 1
    assert (status["started_again"], status["finished_elsewhere"]) == (0, 0)
    assert [json.loads(line)["epoch"] for line in reports.read_text().splitlines()] == [1, 2, 3, 4]
    assert sum(log.count(" epoch received ") for log in logs) == 4
