"""The place of a rank: its share of the batch and its device."""

from pathlib import Path

import pytest
import torch

from tests.jobs.trials import denoising
from wconv_jobs.errors import JobError
from wconv_jobs.ranks.node_order import NodeOrder
from wconv_jobs.ranks.process_group import world_of_ranks
from wconv_jobs.tasks import residence
from wconv_jobs.training.world import World

_CPU = torch.device("cpu")


@pytest.mark.parametrize("size", [1, 2, 3, 6])
def test_the_shares_of_all_ranks_are_the_batch_in_order(size: int) -> None:
    worlds = [World(rank=rank, size=size, device=_CPU) for rank in range(size)]

    shares = [world.share(batch_size=6, step=2) for world in worlds]

    assert [sample for share in shares for sample in share] == [12, 13, 14, 15, 16, 17]
    assert {len(share) for share in shares} == {6 // size}


def test_a_lone_process_sums_and_agrees_with_itself() -> None:
    world = World(rank=0, size=1, device=_CPU)
    values = torch.tensor([1.0, 2.0])

    total = world.sum(values)

    assert torch.equal(total, values)
    assert total is not values
    assert world.from_rank_0(7) == 7


def _order(folder: Path, *, first_rank: int = 0, devices: tuple[int, ...] = ()) -> NodeOrder:
    return NodeOrder(
        trial=denoising(folder),
        ranks=1,
        ranks_here=1,
        first_rank=first_rank,
        devices=devices,
        address="127.0.0.1",
        port=0,
        log_folder=folder,
    )


@pytest.mark.parametrize(("cuda", "devices"), [(False, ()), (False, (0, 1)), (True, ())])
def test_without_cuda_or_without_gpus_a_rank_is_on_the_cpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cuda: bool, devices: tuple[int, ...]
) -> None:
    monkeypatch.setenv("LOCAL_RANK", "0")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)

    with world_of_ranks(_order(tmp_path, devices=devices)) as world:
        assert world == World(rank=0, size=1, device=_CPU)


def test_with_cuda_a_rank_takes_the_gpu_that_its_local_number_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOCAL_RANK", "1")
    taken: list[torch.device] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    monkeypatch.setattr(torch.cuda, "set_device", taken.append)

    with world_of_ranks(_order(tmp_path, devices=(1, 3))) as world:
        assert world.device == torch.device("cuda", 3)
    assert taken == [torch.device("cuda", 3)]


def test_trials_on_one_gpu_take_equal_parts_of_its_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOCAL_RANK", "0")
    monkeypatch.setattr(residence, "_trials", 1)
    parts: list[tuple[float, torch.device]] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", lambda device: None)
    monkeypatch.setattr(
        torch.cuda,
        "set_per_process_memory_fraction",
        lambda fraction, device: parts.append((fraction, device)),
    )
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (1000, 2000))

    alone, shared = _order(tmp_path, devices=(1,)), {"trials_per_gpu": 4}
    with world_of_ranks(alone):
        assert parts == []
    with world_of_ranks(alone.model_copy(update=shared)):
        assert parts == [(0.25, torch.device("cuda", 1))]
        data = torch.zeros(int(1000 * residence.SHARE / 4) + 1, dtype=torch.uint8)
        assert residence.resident(data, "cuda") is data


def test_a_gpu_that_is_not_there_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)

    with (
        pytest.raises(JobError, match="rank 3 has no GPU: there are 1, and it was to take number"),
        world_of_ranks(_order(tmp_path, first_rank=2, devices=(0, 1))),
    ):
        pass


@pytest.mark.gpu
def test_the_sum_of_a_state_on_the_cpu_is_on_the_gpu() -> None:
    world = World(rank=0, size=1, device=torch.device("cuda", 0))

    total = world.sum(torch.tensor([1.0], dtype=torch.float64))

    assert total.device == world.device
    assert total.tolist() == [1.0]
