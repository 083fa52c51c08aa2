"""Residence: data go to the GPU when they fit into their share of it."""

import pytest
import torch

from wconv_jobs.tasks import residence
from wconv_jobs.tasks.residence import SHARE, resident


def _free_bytes(monkeypatch: pytest.MonkeyPatch, free: int) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free, 2 * free))


def test_data_for_a_cpu_stay_where_they_are() -> None:
    data = torch.zeros(4)

    assert resident(data, "cpu") is data


def test_data_too_large_for_their_share_stay_in_the_memory_of_the_host(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = torch.zeros(1000, dtype=torch.uint8)
    _free_bytes(monkeypatch, int(1000 / SHARE) - 1)

    assert resident(data, "cuda") is data


def test_data_that_fit_are_moved(monkeypatch: pytest.MonkeyPatch) -> None:
    moved: list[torch.device] = []

    class Data:
        nbytes = 1000

        def to(self, device: torch.device) -> str:
            moved.append(device)
            return "there"

    _free_bytes(monkeypatch, int(1000 / SHARE))

    assert residence.resident(Data(), torch.device("cuda", 1)) == "there"  # type: ignore[arg-type]
    assert moved == [torch.device("cuda", 1)]


@pytest.mark.gpu
def test_small_data_lie_on_the_gpu() -> None:
    assert resident(torch.zeros(4), "cuda").device.type == "cuda"
