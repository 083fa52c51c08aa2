"""Agents whose training is made up, forked from a process that has everything loaded.

    python -m tests.sweep.scenarios.storm_agents

An agent loads its packages for two seconds, which 32 of them would do on every other core of a
test machine. So one process, the nursery, loads them once, and forks an agent for each line that
it reads: `start ORDER LOG` starts one and prints its process id, `ended` prints which have ended,
as a JSON object of process ids and exit statuses, negative for signals. The nursery ends its
agents when its input ends.

Everything of an agent is real, `wconv_sweep.pilots.running.run_pilot` is what it runs, but for
`run_ranks`: an epoch is a pause, a checkpoint holds its number, and the metric depends on density
and epoch.
"""

import contextlib
import gc
import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from tests.sweep.searching import parabola
from wconv_jobs.messages import Demand, Finished, Report, Verdict
from wconv_jobs.program_trial import ProgramTrial
from wconv_jobs.ranks import run as ranks_module
from wconv_jobs.ranks.placement import Placement
from wconv_jobs.ranks.run import TICK_S, RanksAborted
from wconv_jobs.spec import TrialSpec
from wconv_sweep.pilots.running import run_pilot

EPOCH_S = 0.7
"""Time that an epoch takes, seconds."""
REPORTED = "reported.log"
"""File beside the folders of the trials: `trial attempt epoch value` of each report, in order."""


def train(
    spec: TrialSpec | ProgramTrial,
    *,
    placement: Placement,
    log_folder: Path,
    on_report: Callable[[Report], Verdict],
    on_tick: Callable[[], Demand],
    on_first_step: Callable[[], None] = lambda: None,
    measured_s: float | None = None,
) -> Finished:
    """Do what `run_ranks` does, to the storage: see there."""
    assert isinstance(spec, TrialSpec)
    folder = spec.checkpoint_folder
    folder.mkdir(parents=True, exist_ok=True)
    checkpoint = folder / "epoch"
    epoch = int(checkpoint.read_text("ascii")) if checkpoint.exists() else 0
    metrics: dict[str, float] = {}

    def report() -> Verdict:
        metrics["psnr_db"] = parabola(spec.density, epoch)
        line = f"{folder.name} {log_folder.name} {epoch} {metrics['psnr_db']!r}\n"
        _append(folder.parent / REPORTED, line)
        return on_report(Report(epoch=epoch, metrics=dict(metrics), epoch_s=EPOCH_S))

    verdict = report() if epoch else Verdict.CONTINUE
    while verdict is Verdict.CONTINUE and epoch < spec.recipe.epochs:
        _work(on_tick)
        epoch += 1
        unfinished = checkpoint.with_name(f".epoch.{os.getpid()}")
        unfinished.write_text(f"{epoch}", "ascii")
        unfinished.replace(checkpoint)
        verdict = report()
    if epoch == spec.recipe.epochs:
        return Finished(ending="complete", epoch=epoch, metrics=metrics, provenance={})
    ending = "pruned" if verdict is Verdict.PRUNE else "stopped"
    return Finished(ending=ending, epoch=epoch, metrics={}, provenance={})


def _work(on_tick: Callable[[], Demand]) -> None:
    end = time.monotonic() + EPOCH_S
    while (left_s := end - time.monotonic()) > 0:
        time.sleep(min(left_s, TICK_S))
        if on_tick() is Demand.ABORT:
            raise RanksAborted


def _append(path: Path, line: str) -> None:
    # One write at the end of the file: lines of several processes do not mix.
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(file, line.encode())
    os.close(file)


def _agent(order: str, log: str) -> NoReturn:
    """Be an agent, in a process that was forked for it."""
    output = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for number, file in enumerate((nothing, output, output)):
        os.dup2(file, number)
    status = 1
    try:
        run_pilot(order)
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)


def main() -> None:
    """Start agents until there is no more input."""
    ranks_module.run_ranks = train
    gc.freeze()  # or each agent would copy all that is loaded as soon as it looks for garbage
    agents: set[int] = set()
    for line in iter(sys.stdin.readline, ""):
        command, *arguments = line.split()
        if command == "start":
            agent = os.fork()
            if agent == 0:
                _agent(*arguments)
            agents.add(agent)
            print(agent, flush=True)
        else:
            ended = dict(os.waitpid(agent, os.WNOHANG) for agent in agents)
            ended.pop(0, None)
            agents -= ended.keys()
            codes = {agent: os.waitstatus_to_exitcode(each) for agent, each in ended.items()}
            print(json.dumps(codes), flush=True)
    for agent in agents:
        with contextlib.suppress(ProcessLookupError):
            os.kill(agent, signal.SIGKILL)
        os.waitpid(agent, 0)


if __name__ == "__main__":
    main()
