"""BatchNorm and Dropout over the whole batch: two ranks compute what one does."""

import copy
import math
from datetime import timedelta
from pathlib import Path

import pytest
import torch
from torch import distributed, nn
from torch.multiprocessing.spawn import spawn

from wconv_jobs.training.rank_invariance import (
    SharedBatchNorm,
    SharedDropout,
    share_batch_norm,
    share_dropout,
)
from wconv_jobs.training.world import World

CPU = torch.device("cpu")


def _network() -> nn.Sequential:
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1),
        nn.BatchNorm2d(4, momentum=0.3),
        nn.Dropout(0.4),
        nn.Sequential(nn.Conv2d(4, 3, 3), nn.BatchNorm2d(3, momentum=None)),
        nn.Flatten(),
        nn.BatchNorm1d(27, affine=False),
    ).double()
    for parameter in network.parameters():
        nn.init.normal_(parameter, 0.5)
    return network


def _input() -> torch.Tensor:
    drawn = torch.Generator().manual_seed(1)
    return torch.randn(6, 2, 5, 5, dtype=torch.float64, generator=drawn)


def _train(network: nn.Module, part: torch.Tensor, share: float) -> dict[str, torch.Tensor]:
    """Return gradients and buffers after three passes, the gradients of `share` x the loss."""
    for step in range(3):
        network.zero_grad()
        torch.manual_seed(step)
        torch.autograd.backward(share * (network(part) ** 3).mean())
    gradients = {name: p.grad for name, p in network.named_parameters() if p.grad is not None}
    return gradients | dict(network.named_buffers())


def _shared(network: nn.Module, world: World) -> nn.Module:
    share_dropout(network, world)
    share_batch_norm(network, world)
    return network


def _compare(rank: int, folder: Path) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group(
        "gloo",
        init_method=f"file://{folder}/rendezvous",
        rank=rank,
        world_size=2,
        timeout=timedelta(seconds=120),
    )
    alone = _train(_shared(_network(), World(0, 1, CPU)), _input(), 1.0)
    network = _shared(_network(), World(rank, 2, CPU))

    together = _train(network, _input()[3 * rank : 3 * rank + 3], 0.5)

    assert isinstance(network.get_submodule("1"), SharedBatchNorm)
    assert together.keys() == alone.keys()
    for name, value in together.items():
        if name.endswith(("weight", "bias")):
            distributed.all_reduce(value)  # as DistributedDataParallel does
        torch.testing.assert_close(value, alone[name], rtol=1e-12, atol=1e-13)
    distributed.destroy_process_group()


def _compare_bfloat16(rank: int, folder: Path) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group(
        "gloo",
        init_method=f"file://{folder}/rendezvous",
        rank=rank,
        world_size=2,
        timeout=timedelta(seconds=120),
    )
    torch.manual_seed(2)
    images = 3 + torch.randn(6, 4, 5, 5)
    stock = nn.BatchNorm2d(4)
    shared = _shared(nn.BatchNorm2d(4), World(rank, 2, CPU))
    rows = slice(3 * rank, 3 * rank + 3)
    expected = images.bfloat16().requires_grad_()
    part = images[rows].bfloat16().requires_grad_()

    alone, together = stock(expected), shared(part)
    torch.autograd.backward((alone.float() ** 3).mean())
    torch.autograd.backward((together.float() ** 3).mean() / 2)

    assert expected.grad is not None
    assert part.grad is not None
    assert together.dtype == part.grad.dtype == torch.bfloat16
    # Of the last bit: bfloat16 has 8.
    torch.testing.assert_close(together, alone[rows], rtol=2**-7, atol=2**-7)
    torch.testing.assert_close(part.grad, expected.grad[rows], rtol=2**-6, atol=1e-4)
    # The statistics have all bits of float32.
    for name, value in shared.named_buffers():
        torch.testing.assert_close(value, stock.get_buffer(name), rtol=1e-5, atol=1e-6)
    distributed.destroy_process_group()


@pytest.mark.slow
def test_two_ranks_take_bfloat16_as_one_does(tmp_path: Path) -> None:
    spawn(_compare_bfloat16, args=(tmp_path,), nprocs=2)  # type: ignore[no-untyped-call]


@pytest.mark.slow
def test_two_ranks_have_the_gradients_and_statistics_of_one(tmp_path: Path) -> None:
    spawn(_compare, args=(tmp_path,), nprocs=2)  # type: ignore[no-untyped-call]


def test_parameters_and_buffers_stay_the_same_under_the_same_names() -> None:
    network = _network().eval()
    before = dict(network.named_parameters()) | dict(network.named_buffers())

    shared = _shared(network, World(0, 2, CPU))

    after = dict(shared.named_parameters()) | dict(shared.named_buffers())
    assert list(after) == list(before)
    assert all(after[name] is before[name] for name in before)
    assert not any(layer.training for layer in shared.modules())


def test_on_one_rank_batch_norm_stays_torchs_own() -> None:
    network = _shared(_network(), World(0, 1, CPU))

    assert type(network.get_submodule("1")) is nn.BatchNorm2d


def test_in_evaluation_a_shared_batch_norm_is_torchs_own() -> None:
    expected = _network().eval()
    shared = _shared(_network(), World(0, 2, CPU)).eval()

    assert torch.equal(shared(_input()), expected(_input()))


def test_each_rank_takes_its_part_of_one_mask() -> None:
    masks = []
    for rank, size in ((0, 1), (0, 2), (1, 2)):
        layer = _shared(nn.Dropout(0.25), World(rank, size, CPU))
        torch.manual_seed(5)
        masks.append(layer(torch.ones(8 // size, 100)))

    assert torch.equal(torch.cat(masks[1:]), masks[0])
    # Kept with probability 3/4 and then 4/3: the values are 0 and 4/3, 600 of 800 expected.
    assert masks[0].unique().tolist() == pytest.approx([0.0, 4 / 3])
    assert abs(int((masks[0] > 0).sum()) - 600) < 4 * math.sqrt(800 * 0.25 * 0.75)


@pytest.mark.parametrize(("p", "kept"), [(0.0, 1.0), (1.0, 0.0)])
def test_the_limits_of_dropout_keep_all_or_nothing(p: float, kept: float) -> None:
    layer = _shared(nn.Dropout(p), World(0, 1, CPU))

    assert torch.equal(layer(torch.ones(3, 2)), torch.full((3, 2), kept))


def test_dropout_does_nothing_in_evaluation() -> None:
    layer = _shared(nn.Dropout(0.5), World(0, 1, CPU)).eval()

    assert torch.equal(layer(torch.ones(3, 2)), torch.ones(3, 2))


@pytest.mark.parametrize(
    ("stock", "shape", "masked"),
    [
        (nn.Dropout1d(0.4), (200, 3, 5), (200, 3, 1)),
        (nn.Dropout2d(0.4), (200, 3, 5, 4), (200, 3, 1, 1)),
        (nn.Dropout3d(0.4), (200, 3, 5, 4, 2), (200, 3, 1, 1, 1)),
        (nn.Dropout1d(0.4), (600, 5), (600, 1)),
        (nn.Dropout3d(0.4), (600, 5, 4, 2), (600, 1, 1, 1)),
    ],
)
def test_features_are_dropped_as_a_whole_as_by_torchs_own(
    stock: nn.Module, shape: tuple[int, ...], masked: tuple[int, ...]
) -> None:
    for layer in (stock, _shared(copy.deepcopy(stock), World(0, 1, CPU))):
        torch.manual_seed(3)
        mask = layer(torch.ones(shape))
        per_feature = mask[tuple(slice(0, size) for size in masked)]
        assert torch.equal(mask, per_feature.expand(shape))
        assert per_feature.unique().tolist() == pytest.approx([0.0, 1 / 0.6])
        # 360 of 600 are expected to stay.
        assert abs(int((per_feature > 0).sum()) - 360) < 4 * math.sqrt(600 * 0.4 * 0.6)


class _Activated(nn.BatchNorm2d):
    """As in packages of networks: the activation inside."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return super().forward(input).relu()


class _Noted(nn.Dropout):
    """A subclass that changes nothing, which nobody can know."""


@pytest.mark.parametrize("layer", [_Activated(2), _Noted(0.5), nn.AlphaDropout(0.5)])
def test_a_layer_whose_class_is_not_exactly_the_known_one_stays(layer: nn.Module) -> None:
    before = type(layer)

    assert type(_shared(layer, World(0, 2, CPU))) is before


def test_a_layer_that_stands_in_a_network_more_than_once_is_shared_everywhere() -> None:
    norm, dropout = nn.BatchNorm2d(2), nn.Dropout(0.5)
    calls = []
    norm.register_forward_hook(lambda *_: calls.append("hook"))
    network = nn.Sequential(norm, dropout, norm, dropout)
    network.hidden = [norm]  # type: ignore[assignment]

    _shared(network, World(0, 2, CPU))

    places = [*network, network.hidden[0]]  # type: ignore[index]
    assert [type(layer) for layer in places] == [
        *[SharedBatchNorm, SharedDropout] * 2,
        SharedBatchNorm,
    ]
    assert places[0] is places[2] is places[4] is norm
    norm.eval()(torch.ones(1, 2, 3, 3))
    assert calls == ["hook"]


def test_on_gpus_batch_norm_is_torchs_own_over_all_ranks() -> None:
    network = _network()

    share_batch_norm(network, World(0, 2, torch.device("cuda", 0)))

    converted = nn.SyncBatchNorm.convert_sync_batchnorm(_network())  # type: ignore[no-untyped-call]
    for layer, torchs in zip(network.modules(), converted.modules(), strict=True):
        assert type(layer) is type(torchs) or type(layer) is nn.Dropout
        if isinstance(layer, nn.SyncBatchNorm):
            assert layer.__dict__.keys() == torchs.__dict__.keys()
    assert torch.equal(network.eval()(_input()), converted.eval()(_input()))


def test_on_cpus_torchs_batch_norm_over_all_ranks_which_needs_a_gpu_is_ours() -> None:
    network = _shared(nn.Sequential(nn.SyncBatchNorm(2)), World(0, 2, CPU))

    assert type(network.get_submodule("0")) is SharedBatchNorm
