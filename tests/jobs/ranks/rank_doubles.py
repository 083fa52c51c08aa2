"""Ranks that misbehave, in place of `wconv_jobs.ranks.rank.main`."""

import ctypes
import json
import os
import resource
import signal
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from wconv_jobs.artifacts.trial_files import write_images
from wconv_jobs.data import load_data
from wconv_jobs.messages import Finished
from wconv_jobs.models import build_model
from wconv_jobs.ranks import rank
from wconv_jobs.ranks.agent_link import AgentLink
from wconv_jobs.ranks.node_order import NodeOrder
from wconv_jobs.ranks.process_group import world_of_ranks
from wconv_jobs.spec import TrialSpec
from wconv_jobs.tasks.task import Part, Task
from wconv_jobs.training import loop as training
from wconv_jobs.training.evaluation import evaluate
from wconv_jobs.training.world import World


def _number() -> int:
    """Return the number of a rank of a trial on one node."""
    return int(os.environ["LOCAL_RANK"])


def compiles_without_kernels(address: Path, order_json: bytes) -> None:
    """Traces and differentiates as torch.compile does; making kernels would take a minute."""
    compile_ = torch.compile
    torch.compile = lambda forward, options: compile_(forward, backend="aot_eager")  # type: ignore[assignment]
    rank.main(address, order_json)


def raises_on_rank_1(address: Path, order_json: bytes) -> None:
    """Validates on rank 0, which waits for rank 1, and raises on rank 1."""

    def raising(
        model: nn.Module, task: Task, part: Part, world: World, *more: Any, **options: Any
    ) -> dict[str, float]:
        if world.rank == 1:
            raise RuntimeError("rank 1 does not like its pictures")
        return evaluate(model, task, part, world, *more, **options)

    training.evaluate = raising  # type: ignore[attr-defined]
    rank.main(address, order_json)


def ends_on_rank_1(address: Path, order_json: bytes) -> None:
    """Ends rank 1 as a library would that calls exit()."""

    def ending(
        model: nn.Module, task: Task, part: Part, world: World, *more: Any, **options: Any
    ) -> dict[str, float]:
        if world.rank == 1:
            os._exit(3)
        return evaluate(model, task, part, world, *more, **options)

    training.evaluate = ending  # type: ignore[attr-defined]
    rank.main(address, order_json)


def ends_on_rank_1_and_freezes_on_rank_0(address: Path, order_json: bytes) -> None:
    """Ends rank 1 while rank 0 does not hear that its lifeline was cut."""
    if os.environ["LOCAL_RANK"] == "1":
        os._exit(3)
    os.kill(os.getpid(), signal.SIGSTOP)


def runs_out_of_memory(address: Path, order_json: bytes) -> None:
    """Asks for more than it may have, in the way that the file `how` in its folder names."""
    how = (NodeOrder.model_validate_json(order_json).trial.checkpoint_folder / "how").read_text(
        "utf-8"
    )

    def exhausting(*_: Any, **__: Any) -> dict[str, float]:
        if how == "gpu":
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        if how == "cublas":
            raise RuntimeError(
                "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate`"
            )
        # A limit is real, and leaves the machine alone: enough for what is there, not for more.
        limit = (
            int(Path("/proc/self/statm").read_text("utf-8").split()[0]) * resource.getpagesize()
        )
        resource.setrlimit(resource.RLIMIT_AS, (limit + 2**28, resource.RLIM_INFINITY))
        if how == "python":
            bytearray(2**30)
        torch.empty(2**30, dtype=torch.uint8)
        raise AssertionError("there was memory")

    training.evaluate = exhausting  # type: ignore[attr-defined]
    rank.main(address, order_json)


def ends_after_the_result(address: Path, order_json: bytes) -> None:
    """Breaks on the way out, after all is said."""
    rank.main(address, order_json)
    if _number() == 1:
        os._exit(3)


def talks(address: Path, order_json: bytes) -> None:
    """Prints and warns before it trains."""
    print(f"rank {_number()} prints")
    warnings.warn(f"rank {_number()} warns", stacklevel=1)
    rank.main(address, order_json)


def dies_talking(address: Path, order_json: bytes) -> None:
    """Prints a line from Python and one from C when it validates, and is killed."""

    def killed(*_: Any, **__: Any) -> dict[str, float]:
        print("Python prints")
        ctypes.CDLL(None).puts(b"C prints")
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError("nobody survives this")

    training.evaluate = killed  # type: ignore[attr-defined]
    rank.main(address, order_json)


def notes_buffers(address: Path, order_json: bytes) -> None:
    """Writes the BatchNorm buffers of each rank as they are at its first validation."""
    folder = NodeOrder.model_validate_json(order_json).trial.checkpoint_folder

    def noting(
        model: nn.Module, task: Task, part: Part, world: World, *more: Any, **options: Any
    ) -> dict[str, float]:
        path = folder / f"buffers-{world.rank}.pt"
        if not path.exists():
            folder.mkdir(exist_ok=True)
            torch.save(dict(model.named_buffers()), path)
        return evaluate(model, task, part, world, *more, **options)

    training.evaluate = noting  # type: ignore[attr-defined]
    rank.main(address, order_json)


def notes_who_writes_pictures(address: Path, order_json: bytes) -> None:
    """Leaves a file for each rank that writes test images."""
    folder = NodeOrder.model_validate_json(order_json).trial.checkpoint_folder

    def noting(*arguments: Any) -> None:
        (folder / f"written-by-{_number()}").touch()
        write_images(*arguments)

    training.write_images = noting  # type: ignore[attr-defined,assignment]
    rank.main(address, order_json)


def evaluates_for_ever(address: Path, order_json: bytes) -> None:
    """Evaluates batch after batch on rank 0, for which rank 1 waits."""
    folder = NodeOrder.model_validate_json(order_json).trial.checkpoint_folder

    def endless(*arguments: Any, on_batch: Callable[[], None], **_: Any) -> dict[str, float]:
        world = arguments[3]
        if world.rank == 0:
            folder.mkdir(exist_ok=True)
            (folder / "evaluating").touch()
            while True:
                on_batch()
        world.sum(torch.zeros(1))
        raise AssertionError("rank 0 has come to an end")

    training.evaluate = endless  # type: ignore[attr-defined,assignment]
    rank.main(address, order_json)


def evaluates(address: Path, order_json: bytes) -> None:
    """Writes what each rank takes for the metrics of an untrained network."""
    order = NodeOrder.model_validate_json(order_json)
    spec = order.trial
    assert isinstance(spec, TrialSpec)
    link = AgentLink(address, _number())
    with world_of_ranks(order) as world:
        task, model = task_and_network(spec)
        metrics = evaluate(model, task, "validation", world)
        (spec.checkpoint_folder / f"metrics-{world.rank}.json").write_text(json.dumps(metrics))
        if world.rank == 0:
            link.send(Finished(ending="complete", epoch=0, metrics=metrics, provenance={}))


def task_and_network(spec: TrialSpec, device: str = "cpu") -> tuple[Task, nn.Module]:
    """The data of a trial and its network with the weights of seed 0."""
    torch.manual_seed(0)
    task = load_data(spec.data.name, seed=0, device=device, **spec.data.options)
    return task, build_model(spec.model.name, **spec.model.options).double().to(device)
