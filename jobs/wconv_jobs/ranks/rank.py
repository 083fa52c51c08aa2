"""A rank: one fresh process that trains its share of one trial and talks to the agent."""

import os
import platform
import re
import sys
import traceback
from dataclasses import asdict
from pathlib import Path

import torch

from wconv_jobs import own_code
from wconv_jobs.errors import JobError, TrainingDiverged
from wconv_jobs.messages import STEADY_EPOCHS, Broken, Finished, Left, Report, Stepped
from wconv_jobs.program_trial import ProgramTrial
from wconv_jobs.ranks.agent_link import AgentLink
from wconv_jobs.ranks.agent_signals import ignore_signals
from wconv_jobs.ranks.node_order import NodeOrder
from wconv_jobs.ranks.out_of_memory import memory_failure
from wconv_jobs.ranks.printed import print_lines_at_once
from wconv_jobs.ranks.process_group import world_of_ranks
from wconv_jobs.ranks.program import run_program
from wconv_jobs.spec import TrialSpec
from wconv_jobs.training.epoch_time import epoch_s, steady_epochs
from wconv_jobs.training.loop import TrainingResult, train
from wconv_jobs.training.speed import measure
from wconv_jobs.training.world import World
from wconv_kernels import DensityError, SiteError


def main(address: Path, order_json: bytes) -> None:
    """Train as the rank of this node that LOCAL_RANK names, and report the end to the agent.

    Args:
        address: path of the node's Unix socket.
        order_json: a `NodeOrder`.
    """
    ignore_signals()
    print_lines_at_once()
    order = NodeOrder.model_validate_json(order_json)
    rank = order.first_rank + int(os.environ["LOCAL_RANK"])
    link = AgentLink(address, rank)
    try:
        if isinstance(order.trial, ProgramTrial):
            said = run_program(order, order.trial, link)
            if isinstance(said, Broken):
                link.break_off(said)
            link.send(said)
            return
        torch.set_num_threads(order.trial.threads_per_rank)
        own_code.add_folder(order.trial.code_folder)
        with world_of_ranks(order) as world:
            ended = _trained(order, order.trial, link, world)
            link.send(ended if world.rank == 0 else Left(rank=rank))
    except Exception as error:
        traceback.print_exc()
        sys.stdout.flush()  # the process ends without its usual clean-up
        link.break_off(describe(error, rank))


def describe(error: Exception, rank: int) -> Broken:
    """Return the message to the agent about an exception of a rank.

    Final are those that depend on the order alone, not on the machine or the moment.
    """
    without_memory = memory_failure(error, rank)
    if without_memory is not None:
        return without_memory
    final = isinstance(error, TrainingDiverged | JobError | DensityError | SiteError)
    return Broken.of(error, rank, final=final)


def _trained(order: NodeOrder, trial: TrialSpec, link: AgentLink, world: World) -> Finished:
    """Train the trial, or measure its speed."""
    if order.measured_s is not None:
        speed = measure(trial, order.measured_s, lambda: _wait(link), world)
        return Finished(
            ending="complete", epoch=0, metrics=asdict(speed), provenance=_provenance(world)
        )
    result = train(
        trial,
        link.report,
        world,
        link.checkpoint_is_demanded,
        lambda: _tell_of_step(link, world),
    )
    return Finished(
        ending=result.ending,
        epoch=len(result.reports),
        metrics=_metrics(result),
        provenance=_provenance(world) | _timed(result),
    )


def _wait(link: AgentLink) -> None:
    """Wait until the agent has heard of all trials that are measured side by side."""
    link.report(Report(epoch=0, metrics={}, epoch_s=0.0))


def _tell_of_step(link: AgentLink, world: World) -> None:
    if world.device.type == "cuda":
        # Until then it is only queued, and may still fail.
        torch.cuda.synchronize(world.device)
    link.send(Stepped())


def _driver() -> str:
    """Return the version of NVIDIA's kernel driver, which torch does not report."""
    try:
        text = Path("/proc/driver/nvidia/version").read_text("utf-8")
    except OSError:
        return "unknown"
    found = re.search(r"Kernel Module\D*([\d.]+)", text)
    return found.group(1) if found else "unknown"


def _metrics(result: TrainingResult) -> dict[str, float]:
    timed = {"epoch_s": epoch_s(result.reports)} if result.ending == "complete" else {}
    return result.metrics | timed


def _timed(result: TrainingResult) -> dict[str, str]:
    """Return the number of epochs that the time of a complete trial is measured by."""
    if result.ending != "complete":
        return {}
    return {STEADY_EPOCHS: str(steady_epochs(result.reports))}


def _provenance(world: World) -> dict[str, str]:
    device = (
        torch.cuda.get_device_name(world.device)
        if world.device.type == "cuda"
        else f"cpu ({platform.machine()})"
    )
    return {
        "torch": torch.__version__,
        "cuda": torch.version.cuda or "none",
        "driver": _driver() if world.device.type == "cuda" else "none",
        "device": device,
        "ranks": str(world.size),
        "threads": str(torch.get_num_threads()),
        "host": platform.node(),
    }
