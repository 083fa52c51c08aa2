"""The programs of docs/own-program.md that use a framework: stopped, disturbed, resumed, complete.

That of transformers is skipped where it is not installed, which CI leaves out: it takes 60 MB, and
each import of lightning would load it, too.
"""

import importlib.util
import os
import signal
import sys
from pathlib import Path

import pytest

from tests.jobs.trials import Recorder, processes, ranks_of
from tests.pages import ROOT, blocks
from wconv_jobs.messages import Demand, Finished, Report, Verdict
from wconv_jobs.program_trial import ProgramTrial
from wconv_jobs.ranks.placement import Placement
from wconv_jobs.ranks.run import run_ranks

# As in a batch step of a job, whose one task is the agent. Lightning starts no ranks by them.
OF_SLURM = {"SLURM_JOB_ID": "7", "SLURM_JOB_NAME": "sweep", "SLURM_NTASKS": "1"} | {
    "SLURM_PROCID": "0",
    "SLURM_LOCALID": "0",
    "SLURM_NODEID": "0",
}
PROGRAMS = {block.title: block.content for block in blocks(ROOT / "docs/own-program.md")}


class Disturber(Recorder):
    """Also sends the signal to all programs that SLURM sends to a job, at the first report."""

    def __call__(self, report: Report) -> Verdict:
        if report.epoch == 1:
            ranks = ranks_of(os.getpid())
            for process in processes():
                if process.parent in ranks:
                    os.kill(process.pid, signal.SIGTERM)
        return super().__call__(report)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("framework", "program", "metric", "left"),
    [
        ("lightning", "train_lightning.py", "mse", ["epoch_3.ckpt"]),
        # A file of each rank, which knows of the other.
        ("accelerate", "train_accelerate.py", "mse", ["3/random_states_1.pkl"]),
        ("transformers", "train_trainer.py", "loss", ["checkpoint-12/complete_1"]),
    ],
)
def test_a_program_with_a_framework_on_two_ranks_stops_and_goes_on(
    framework: str, program: str, metric: str, left: list[str], tmp_path: Path
) -> None:
    if importlib.util.find_spec(framework) is None:
        pytest.skip(f"{framework} is not installed")
    (tmp_path / program).write_text(PROGRAMS[program], "utf-8")
    trial = ProgramTrial(
        command=(sys.executable, program),
        env=OF_SLURM,
        options={},
        metric=metric,
        reports=3,
        density=(0.8,),
        seed=17,
        checkpoint_folder=tmp_path / "trial",
        code_folder=tmp_path,
    )
    first, second = Disturber({2: Verdict.STOP}), Recorder()

    stopped, complete = (
        run_ranks(
            trial,
            placement=Placement(2),
            log_folder=tmp_path / f"attempt_{number}",
            on_report=recorder,
            on_tick=lambda: Demand.GO,
        )
        for number, recorder in enumerate((first, second))
    )

    assert isinstance(stopped, Finished), stopped.traceback
    assert isinstance(complete, Finished), complete.traceback
    assert (stopped.ending, complete.ending, complete.epoch) == ("stopped", "complete", 3)
    assert (first.epochs, second.epochs) == ([1, 2], [3])
    values = [each[metric] for each in first.metrics + second.metrics]
    assert values == sorted(values, reverse=True)
    assert framework in complete.provenance
    assert [path for path in left if (trial.program_folder / path).exists()] == left
