"""A network that several ranks would train otherwise than one is named before it is trained."""

import random
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wconv_jobs.errors import JobError
from wconv_jobs.tasks.tensors import TensorTask
from wconv_jobs.training.rank_invariance import share_batch_norm, share_dropout
from wconv_jobs.training.share_check import check_shares
from wconv_jobs.training.world import World

TWO = World(0, 2, torch.device("cpu"))


class _Activated(nn.BatchNorm2d):
    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input).relu()


class _Function(nn.Module):
    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self._function = function

    def forward(self, x: Tensor) -> Tensor:
        return self._function(x)


class _Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.MultiheadAttention(4, 1, dropout=0.5)

    def forward(self, x: Tensor) -> Tensor:
        tokens = x.flatten(2).permute(2, 0, 1)
        mixed: Tensor = self.inner(tokens, tokens, tokens)[0]
        return mixed.permute(1, 2, 0).view(x.shape)


class _Float32(nn.Module):
    """Takes no float64."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.inner(x @ torch.eye(6))
        return y


class _CountsCalls(nn.Module):
    seen: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        self.seen.add_(len(x))
        return x


def network(layer: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.Sequential(nn.ReLU(), layer),
        nn.Dropout2d(0.5),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(4, 4),
    )


def task() -> TensorTask:
    drawn = torch.Generator().manual_seed(1)
    parts = torch.rand(8, 3, 6, 6, generator=drawn), torch.arange(8) % 4
    names = ("train", "validation", "test")
    return TensorTask(dict.fromkeys(names, parts), kind="classification", seed=0, device="cpu")


def check(model: nn.Module, task: TensorTask) -> None:
    share_dropout(model, TWO)
    share_batch_norm(model, TWO)
    check_shares(model, task, TWO, 0.1)


@pytest.mark.parametrize(
    "layer",
    [
        nn.BatchNorm2d(4),
        nn.Dropout(0.5),
        nn.GroupNorm(2, 4),
        nn.InstanceNorm2d(4),
        nn.LayerNorm([4, 6, 6]),
        _Function(lambda x: F.dropout(x, 0.5, training=False)),
        # Rounding must not flip a threshold in one of the shares alone.
        _Function(lambda x: (x > x.mean(dim=(1, 2, 3), keepdim=True)).to(x.dtype)),
    ],
)
def test_what_treats_each_sample_for_itself_passes(layer: nn.Module) -> None:
    check(network(layer), task())


@pytest.mark.parametrize(
    ("layer", "kind"),
    [
        (_Activated(4), "_Activated"),
        (nn.SyncBatchNorm(4), None),
        (_Function(lambda x: x - x.mean(0)), "_Function"),
        (_Function(lambda x: x.flip(0)), "_Function"),
    ],
)
def test_what_takes_statistics_over_the_batch_is_named(layer: nn.Module, kind: str | None) -> None:
    if kind is None:  # it is over all ranks already
        check(network(layer), task())
        return
    with pytest.raises(JobError) as error:
        check(network(layer), task())

    assert str(error.value) == (
        f"on 2 ranks the network would not be trained as on one: what layer '2.1' ({kind}) makes "
        "of a sample depends on the others of the batch. Use torch's own layers, or set "
        "trial.ranks to 1. With recipe.batch_norm_over: rank it is trained all the same, to a "
        "result that depends on the number of ranks."
    )


@pytest.mark.parametrize(
    "layer",
    [
        nn.AlphaDropout(0.5),
        nn.RReLU(),
        _Attention(),
        _Function(lambda x: F.dropout(x, 0.5)),
        _Function(lambda x: x + torch.rand(())),
        _Function(lambda x: x * random.random()),
        _Function(lambda x: x * float(np.random.rand())),
    ],
)
def test_what_draws_random_numbers_is_named(layer: nn.Module) -> None:
    with pytest.raises(JobError, match=r"layer '2\.1(\.inner)?' \(\w+\) draws random numbers"):
        check(network(layer), task())


def test_a_layer_behind_weights_of_zero_is_named_as_well() -> None:
    last = nn.Linear(4, 4)
    nn.init.zeros_(last.weight)
    model = nn.Sequential(network(_Activated(4)), last)

    with pytest.raises(JobError, match=r"layer '0\.2\.1' \(_Activated\)"):
        check(model, task())


def test_a_loss_that_is_no_mean_over_samples_is_named() -> None:
    class Summed(TensorTask):
        def loss(self, outputs: Tensor, targets: Tensor, *, label_smoothing: float) -> Tensor:
            return super().loss(outputs, targets, label_smoothing=label_smoothing) * len(outputs)

    parts = task()._parts
    summed = Summed(parts, kind="classification", seed=0, device="cpu")

    with pytest.raises(JobError, match="the loss of a batch is not the mean"):
        check(network(nn.ReLU()), summed)


def test_the_check_changes_neither_the_network_nor_what_is_drawn_next() -> None:
    layer = _CountsCalls()
    model = network(layer)
    share_dropout(model, TWO)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    classes = [type(module) for module in model.modules()]
    torch.manual_seed(7)
    state = torch.get_rng_state()

    check_shares(model, task(), TWO, 0.0)

    assert torch.equal(torch.get_rng_state(), state)
    assert layer.calls == 0
    assert [type(module) for module in model.modules()] == classes
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert not any(module._forward_hooks for module in model.modules())


def test_of_a_network_that_takes_no_float64_the_random_numbers_are_checked() -> None:
    check(network(_Float32(nn.ReLU())), task())

    with pytest.raises(JobError, match=r"layer '2\.1\.inner' \(RReLU\) draws random numbers"):
        check(network(_Float32(nn.RReLU())), task())
