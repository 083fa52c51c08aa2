"""The engine under DistributedDataParallel, in two real processes."""

from copy import deepcopy
from datetime import timedelta
from pathlib import Path
from typing import Literal

import pytest
import torch
from torch import distributed, nn
from torch.multiprocessing.spawn import spawn
from torch.nn.parallel import DistributedDataParallel

from tests.kernels.networks import (
    Run,
    largest_difference,
    loss_of,
    sgd,
    small_resnet,
)
from wconv_kernels import DensityEngine, EngineError, replace_convolutions

RANKS = 2


def _start(rank: int, folder: Path) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group(
        "gloo",
        init_method=f"file://{folder}/rendezvous",
        rank=rank,
        world_size=RANKS,
        timeout=timedelta(seconds=120),
    )


def _train(run: Run, wrapped: nn.Module, rank: int) -> None:
    for step in range(10):
        run.optimizer.zero_grad()
        torch.autograd.backward(loss_of(wrapped, RANKS * step + rank))
        run.clip(1.0)
        run.optimizer.step()


def _compare_with_reference(
    rank: int, folder: Path, grads: Literal["hook", "foreach"], engine_first: bool
) -> None:
    _start(rank, folder)
    model = small_resnet()

    trained = deepcopy(model)
    if engine_first:
        engine = DensityEngine(trained, 0.7, grads=grads)
        wrapped = DistributedDataParallel(trained, gradient_as_bucket_view=True)
    else:
        wrapped = DistributedDataParallel(trained, gradient_as_bucket_view=True)
        engine = DensityEngine(trained, 0.7, grads=grads)
    run = Run(trained, sgd(trained), engine)
    engine.attach(run.optimizer)
    _train(run, wrapped, rank)

    expected = deepcopy(model)
    replace_convolutions(expected, 0.7)
    reference = Run(expected, sgd(expected))
    _train(reference, DistributedDataParallel(expected, gradient_as_bucket_view=True), rank)

    difference = largest_difference(run, reference)
    (folder / f"difference-{rank}").write_text(repr(difference))
    distributed.destroy_process_group()


def _attach_with_other_weights_on_each_rank(rank: int, folder: Path) -> None:
    _start(rank, folder)
    model = small_resnet()
    nn.init.constant_(model.get_parameter("0.weight"), float(rank + 1))
    engine = DensityEngine(model, 0.7)
    DistributedDataParallel(model)  # broadcasts rank 0's V
    try:
        engine.attach(sgd(model))
        outcome = "attached"
    except EngineError as error:
        outcome = str(error)
    (folder / f"outcome-{rank}").write_text(outcome)
    distributed.barrier()
    distributed.destroy_process_group()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("grads", "engine_first", "tolerance"),
    [("hook", True, 0.0), ("hook", False, 0.0), ("foreach", True, 1e-12)],
)
def test_two_ranks_take_the_steps_of_two_reference_ranks(
    tmp_path: Path, grads: str, engine_first: bool, tolerance: float
) -> None:
    spawn(  # type: ignore[no-untyped-call]  # torch does not annotate it
        _compare_with_reference, (tmp_path, grads, engine_first), nprocs=RANKS
    )

    differences = [float((tmp_path / f"difference-{rank}").read_text()) for rank in range(RANKS)]
    assert max(differences) <= tolerance


@pytest.mark.slow
def test_ranks_that_start_from_different_weights_are_noticed_at_attach(tmp_path: Path) -> None:
    spawn(  # type: ignore[no-untyped-call]  # torch does not annotate it
        _attach_with_other_weights_on_each_rank, (tmp_path,), nprocs=RANKS
    )

    assert (tmp_path / "outcome-0").read_text() == "attached"
    assert "give all ranks the same initial weights" in (tmp_path / "outcome-1").read_text()
