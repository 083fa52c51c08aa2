"""The place of a rank: its share of the batch and its device."""

import pytest
import torch

from wconv_jobs.distributed import World, world_of_ranks
from wconv_jobs.errors import JobError

_CPU = torch.device("cpu")


@pytest.mark.parametrize("size", [1, 2, 3, 6])
def test_the_shares_of_all_ranks_are_the_batch_in_order(size: int) -> None:
    worlds = [World(rank=rank, size=size, device=_CPU) for rank in range(size)]

    shares = [world.share(batch=6, step=2) for world in worlds]

    assert [sample for share in shares for sample in share] == [12, 13, 14, 15, 16, 17]
    assert {len(share) for share in shares} == {6 // size}


def test_a_lone_process_sums_and_agrees_with_itself() -> None:
    world = World(rank=0, size=1, device=_CPU)
    values = torch.tensor([1.0, 2.0])

    total = world.sum(values)

    assert torch.equal(total, values)
    assert total is not values
    assert world.from_rank_0(7) == 7


def _environment(monkeypatch: pytest.MonkeyPatch, local_rank: int) -> None:
    for name, value in {"RANK": 0, "WORLD_SIZE": 1, "LOCAL_RANK": local_rank}.items():
        monkeypatch.setenv(name, str(value))


def test_without_cuda_a_rank_is_on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    _environment(monkeypatch, 0)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)

    with world_of_ranks() as world:
        assert world == World(rank=0, size=1, device=_CPU)


def test_with_cuda_a_rank_takes_the_gpu_of_its_local_number(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _environment(monkeypatch, 1)
    taken: list[torch.device] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", taken.append)

    with world_of_ranks() as world:
        assert world.device == torch.device("cuda", 1)
    assert taken == [torch.device("cuda", 1)]


def test_more_ranks_than_gpus_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    _environment(monkeypatch, 1)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)

    with pytest.raises(JobError, match="rank 1 has no GPU: there are 1"), world_of_ranks():
        pass


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_the_sum_of_a_state_on_the_cpu_is_on_the_gpu() -> None:
    world = World(rank=0, size=1, device=torch.device("cuda", 0))

    total = world.sum(torch.tensor([1.0], dtype=torch.float64))

    assert total.device == world.device
    assert total.tolist() == [1.0]
