"""A network that does not fit its data is named before training; so is what ranks cannot send."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, distributed, nn
from torch.multiprocessing.spawn import spawn

from wconv_jobs.errors import JobError
from wconv_jobs.tasks.tensors import TensorTask
from wconv_jobs.training.network_check import check_exchange, unused_parameters
from wconv_jobs.training.rank_invariance import share_batch_norm, share_dropout
from wconv_jobs.training.world import World

ALONE = World(0, 1, torch.device("cpu"))


class _Returns(nn.Module):
    def __init__(self, function: Callable[[Tensor], object]) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 4)
        self._function = function

    def forward(self, x: Tensor) -> object:
        return self._function(self.layer(x.mean(dim=(2, 3))))


class _Hooked(nn.Module):
    """Takes what a hook, a function that holds on to this very network, has kept."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 4)
        self.spare = nn.Linear(2, 2)
        self.kept: list[Tensor] = []
        self.layer.register_forward_hook(lambda *passed: self.kept.append(passed[2]))

    def forward(self, x: Tensor) -> Tensor:
        self.kept.clear()
        self.layer(x.mean(dim=(2, 3)))
        return self.kept[0]


def task(images: Tensor, labels: Tensor) -> TensorTask:
    parts = dict.fromkeys(("train", "validation", "test"), (images, labels))
    return TensorTask(parts, kind="classification", seed=0, device="cpu")


def images(*shape: int) -> Tensor:
    return torch.rand(8, *shape, generator=torch.Generator().manual_seed(0))


LABELS = torch.arange(8) % 4


@pytest.mark.parametrize(
    ("returned", "problem"),
    [
        (lambda y: {"out": y, "aux": y}, "a dict with 'out', 'aux' when training"),
        (lambda y: (y, y), "a tuple of 2 when training"),
        (lambda y: None, "a NoneType when training"),
    ],
)
def test_a_network_that_returns_no_tensor_is_told_so(
    returned: Callable[[Tensor], object], problem: str
) -> None:
    with pytest.raises(JobError) as error:
        unused_parameters(_Returns(returned), task(images(3, 5, 5), LABELS), ALONE)

    assert str(error.value) == (
        f"the network returns {problem}, not a tensor. Wrap it in a module whose forward returns "
        "the tensor that the loss takes."
    )


def test_images_whose_channels_stand_last_are_recognized() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())

    with pytest.raises(JobError) as error:
        unused_parameters(network, task(images(16, 16, 3), LABELS), ALONE)

    assert "does not take a batch of shape (4, 16, 16, 3): RuntimeError: " in str(error.value)
    assert str(error.value).endswith(
        "The channels seem to stand last: give images as (samples, channels, height, width), "
        "with permute(0, 3, 1, 2)."
    )


def test_labels_that_begin_with_one_are_recognized() -> None:
    with pytest.raises(JobError, match=r"5 classes\. The class labels begin with 1: count them"):
        unused_parameters(_Returns(lambda y: y), task(images(3, 5, 5), LABELS + 1), ALONE)


def test_labels_beyond_the_outputs_are_named() -> None:
    with pytest.raises(JobError, match=r"returns \(4, 4\), but .* 5 classes\. Change the network"):
        unused_parameters(_Returns(lambda y: y), task(images(3, 5, 5), torch.arange(8) % 5), ALONE)


def test_parameters_that_the_loss_does_not_use_are_found_and_nothing_is_changed() -> None:
    network = _Returns(lambda y: y)
    network.spare = nn.Linear(2, 2)
    network.frozen = nn.Linear(2, 2).requires_grad_(False)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    state = torch.get_rng_state()

    unused = unused_parameters(network, task(images(3, 5, 5), LABELS), ALONE)

    assert unused == ["spare.weight", "spare.bias"]
    assert torch.equal(torch.get_rng_state(), state)
    for name, parameter in network.named_parameters():
        assert parameter.grad is None
        assert torch.equal(parameter, before[name])


def test_the_weights_of_a_layer_that_the_ranks_share_are_used() -> None:
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3),
        nn.BatchNorm2d(4),
        nn.Dropout(0.5),
        nn.BatchNorm2d(4, affine=False),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
    )
    two = World(0, 2, torch.device("cpu"))
    share_dropout(network, two)
    share_batch_norm(network, two)

    assert unused_parameters(network, task(images(3, 5, 5), LABELS), two) == []


def _exchange(rank: int, folder: Path) -> None:
    distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2
    )
    network = nn.BatchNorm2d(3)
    check_exchange(network)
    network.register_buffer("table", torch.eye(3).to_sparse())
    with pytest.raises(JobError) as error:
        check_exchange(network)
    assert str(error.value) == (
        "buffer 'table' (sparse_coo torch.float32) cannot be sent from rank to rank. Keep it as a "
        "dense tensor, or set trial.ranks to 1."
    )
    distributed.barrier()
    distributed.destroy_process_group()


@pytest.mark.slow
def test_a_buffer_that_ranks_cannot_send_each_other_is_named(tmp_path: Path) -> None:
    spawn(_exchange, args=(tmp_path,), nprocs=2)  # type: ignore[no-untyped-call]


def test_a_network_with_hooks_is_tried_on_one_that_is_built_anew() -> None:
    network = _Hooked()

    unused = unused_parameters(network, task(images(3, 5, 5), LABELS), ALONE, build=_Hooked)

    assert unused == ["spare.weight", "spare.bias"]
    assert not network.kept
    assert all(parameter.grad is None for parameter in network.parameters())
