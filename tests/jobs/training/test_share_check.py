"""A network that several ranks would train otherwise than one is named before it is trained."""

import random
import threading
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import weight_norm

from wconv_jobs.errors import JobError
from wconv_jobs.tasks.tensors import TensorTask
from wconv_jobs.training.probe import random_state_kept
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


class _Scaled(nn.Module):
    """A branch that starts next to zero, as in transformers and their like."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner
        self.scale = nn.Parameter(torch.tensor(1e-6))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = x + self.scale * self.inner(x)
        return y


class _Listed(nn.Module):
    """Holds a layer where torch does not see it."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = [inner]

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.inner[0](x)
        return y


class _Enclosed(nn.Module):
    """Calls a layer by a function, which a copy of the network shares with it."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

        def call(x: Tensor) -> Tensor:
            y: Tensor = inner(x)
            return y

        self._call = call

    def forward(self, x: Tensor) -> Tensor:
        return self._call(x)


class _Locked(nn.Module):
    """Cannot be copied."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner
        self._lock = threading.Lock()

    def forward(self, x: Tensor) -> Tensor:
        with self._lock:
            y: Tensor = self.inner(x)
        return y


class _Followed(nn.Module):
    """Subtracts in evaluation the mean of what it has seen in training."""

    mean: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.mean.lerp_(x.detach().mean(), 0.1)
            return x
        return x - self.mean


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


def test_the_second_of_two_normal_numbers_that_numpy_draws_at_once_is_drawn_too() -> None:
    layer = _Function(lambda x: x * float(np.random.randn()))
    with random_state_kept(torch.device("cpu")):
        np.random.randn()

        with pytest.raises(JobError, match=r"layer '2\.1' \(\w+\) draws random numbers"):
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


def test_a_layer_at_the_beginning_of_many_is_named_although_values_vanish_behind_it() -> None:
    torch.manual_seed(0)
    behind = [
        layer
        for _ in range(20)
        for layer in (nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU())
    ]
    model = nn.Sequential(nn.Conv2d(3, 4, 1), _Activated(4), *behind, nn.Flatten())

    with pytest.raises(JobError, match=r"what layer '1' \(_Activated\) makes of a sample"):
        check(model.append(nn.Linear(144, 4)), task())


@pytest.mark.parametrize(
    ("layer", "name"),
    [
        (_Scaled(_Activated(4)), r"2\.1\.inner"),
        (_Float32(_Activated(4)), r"2\.1\.inner"),
        (_Listed(nn.BatchNorm2d(4)), r"2\.1"),
    ],
)
def test_it_is_named_where_it_hardly_shows_or_copies_badly(layer: nn.Module, name: str) -> None:
    with pytest.raises(JobError, match=rf"what layer '{name}' \(\w+\) makes of a sample depends"):
        check(network(layer), task())


def test_it_is_named_behind_a_weight_that_torch_does_not_copy() -> None:
    with pytest.warns(FutureWarning, match="weight_norm"):
        convolution = weight_norm(nn.Conv2d(4, 4, 1))

    with pytest.raises(JobError, match=r"what layer '2\.1\.1' \(_Activated\) makes of a sample"):
        check(network(nn.Sequential(convolution, _Activated(4))), task())


@pytest.mark.parametrize("kind", [_Enclosed, _Locked])
def test_a_network_of_which_there_is_no_copy_is_built_anew(kind: type[nn.Module]) -> None:
    def build(layer: nn.Module) -> nn.Module:
        model = network(kind(layer))
        share_dropout(model, TWO)
        share_batch_norm(model, TWO)
        return model

    model = build(_Activated(4))
    with pytest.raises(JobError, match=r"what layer '2\.1\.inner' \(_Activated\) makes of"):
        check_shares(model, task(), TWO, 0.0, lambda: build(_Activated(4)))
    assert torch.equal(model.get_buffer("2.1.inner.running_mean"), torch.zeros(4))
    assert not any(layer._forward_pre_hooks for layer in model.modules())

    check_shares(build(nn.ReLU()), task(), TWO, 0.0, lambda: build(nn.ReLU()))


@pytest.mark.parametrize(
    ("layer", "fault"),
    [
        (
            nn.InstanceNorm2d(4, track_running_stats=True),
            r"in training layer '2\.1' \(InstanceNorm2d\) follows the samples of its rank",
        ),
        (_Followed(), r"in training layer '2\.1' \(_Followed\) follows the samples of its rank"),
        (
            nn.BatchNorm2d(4, track_running_stats=False),
            r"in evaluation what layer '2\.1' \(BatchNorm\) makes of a sample depends on",
        ),
    ],
)
def test_what_ranks_would_evaluate_otherwise_is_named(layer: nn.Module, fault: str) -> None:
    with pytest.raises(JobError, match=fault):
        check(network(layer), task())


class _ScalesGradients(torch.autograd.Function):
    @staticmethod
    def forward(ctx: object, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: object, *gradients: Tensor) -> Tensor:
        gradient = gradients[0]
        return gradient / gradient.square().sum().sqrt()


@pytest.mark.parametrize(
    "layer",
    [
        _Function(_ScalesGradients.apply),
        # Zero but for rounding, whose sign decides whether the ReLU passes a gradient.
        nn.Sequential(_Function(lambda x: x - x.detach() + (len(x) - 3) * 1e-15), nn.ReLU()),
    ],
)
def test_gradients_that_differ_behind_equal_outputs_are_named(layer: nn.Module) -> None:
    with pytest.raises(JobError, match=r"the gradient of '\d.*' for a batch is not the mean over"):
        check(network(layer), task())
