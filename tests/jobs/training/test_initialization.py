"""Initial weights: a function of scheme, seed and layer name, whatever else is going on."""

import math

import pytest
import torch
from torch import nn
from torch.nn.utils import weight_norm

from wconv_jobs.catalog import names, smoke_options
from wconv_jobs.models import build_model
from wconv_jobs.training.initialization import Scheme, initialize

SCHEMES: tuple[Scheme, ...] = ("pytorch", "kaiming", "paper")


def _weights(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def _assert_equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    assert one.keys() == other.keys()
    for name in one:
        assert torch.equal(one[name], other[name]), name


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("name", names("models"))
def test_the_seed_decides_every_weight_of_every_model(name: str, scheme: Scheme) -> None:
    torch.manual_seed(0)
    one = build_model(name, **smoke_options("models", name))
    torch.manual_seed(1)
    other = build_model(name, **smoke_options("models", name))

    initialize(one, scheme, seed=7)
    initialize(other, scheme, seed=7)

    _assert_equal(_weights(one), _weights(other))


@pytest.mark.parametrize("scheme", SCHEMES)
def test_another_seed_draws_other_weights(scheme: Scheme) -> None:
    one, other = build_model("tiny"), build_model("tiny")

    initialize(one, scheme, seed=7)
    initialize(other, scheme, seed=8)

    assert not torch.equal(one.get_parameter("0.weight"), other.get_parameter("0.weight"))


@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_global_random_state_is_left_alone(scheme: Scheme) -> None:
    model = build_model("tiny")
    before = torch.get_rng_state()

    initialize(model, scheme, seed=7)

    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_layer_is_drawn_the_same_whatever_the_other_layers(scheme: Scheme) -> None:
    short = nn.Sequential(nn.Conv2d(3, 4, 3))
    long = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 5), nn.Linear(2, 2))

    initialize(short, scheme, seed=7)
    initialize(long, scheme, seed=7)

    assert torch.equal(short.get_parameter("0.weight"), long.get_parameter("0.weight"))


@pytest.mark.parametrize("scheme", SCHEMES)
def test_two_layers_of_one_shape_are_drawn_differently(scheme: Scheme) -> None:
    model = nn.Sequential(nn.Conv2d(4, 4, 3), nn.Conv2d(4, 4, 3))

    initialize(model, scheme, seed=7)

    assert not torch.equal(model.get_parameter("0.weight"), model.get_parameter("1.weight"))


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_float64_model_starts_from_the_values_of_the_float32_model(scheme: Scheme) -> None:
    single, double = build_model("tiny"), build_model("tiny").double()

    initialize(single, scheme, seed=7)
    initialize(double, scheme, seed=7)

    assert double.get_parameter("0.weight").dtype == torch.float64
    _assert_equal(_weights(single.double()), _weights(double))


@pytest.mark.gpu
@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_model_on_the_gpu_starts_from_the_values_of_the_model_on_the_cpu(scheme: Scheme) -> None:
    on_cpu, on_gpu = build_model("tiny"), build_model("tiny").cuda()
    before = torch.cuda.get_rng_state()

    initialize(on_cpu, scheme, seed=7)
    initialize(on_gpu, scheme, seed=7)

    _assert_equal(_weights(on_cpu), _weights(on_gpu.cpu()))
    assert torch.equal(torch.cuda.get_rng_state(), before)


def test_pytorch_is_the_default_of_pytorch_under_the_layers_seed() -> None:
    model = nn.Sequential(nn.Conv2d(16, 64, 3))

    initialize(model, "pytorch", seed=7)

    # U(-b, b), b = 1 / sqrt(fan_in) = 1 / sqrt(16 * 9)
    bound = 1 / 12
    weight, bias = model.get_parameter("0.weight"), model.get_parameter("0.bias")
    assert weight.abs().max().item() == pytest.approx(bound, rel=1e-3)
    assert weight.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.02)
    assert 0 < bias.abs().max().item() < 1.0001 * bound


@pytest.mark.parametrize(
    ("scheme", "fan_out"),
    # 256 channels, 3 x 3 taps: one output channel per group, or all 256 of them.
    [("kaiming", 9), ("paper", 9 * 256)],
)
def test_the_fan_out_of_a_depthwise_convolution(scheme: Scheme, fan_out: int) -> None:
    model = nn.Sequential(nn.Conv2d(256, 256, 3, groups=256))

    initialize(model, scheme, seed=7)

    # 2304 weights: the standard error of their standard deviation is 1.5 %.
    std = model.get_parameter("0.weight").std().item()
    assert std == pytest.approx(math.sqrt(2 / fan_out), rel=0.06)
    assert not model.get_parameter("0.bias").any()


def test_paper_and_kaiming_agree_where_there_is_one_group() -> None:
    one, other = nn.Sequential(nn.Conv1d(8, 8, 3)), nn.Sequential(nn.Conv1d(8, 8, 3))

    initialize(one, "kaiming", seed=7)
    initialize(other, "paper", seed=7)

    _assert_equal(_weights(one), _weights(other))


def test_paper_has_the_standard_deviation_that_torch_computes() -> None:
    model = nn.Sequential(nn.Conv3d(8, 32, 3, groups=4))
    by_torch = torch.empty_like(model.get_parameter("0.weight"))
    nn.init.kaiming_normal_(
        by_torch, mode="fan_out", nonlinearity="relu", generator=torch.Generator().manual_seed(1)
    )

    initialize(model, "paper", seed=7)

    std = model.get_parameter("0.weight").std().item()
    assert std == pytest.approx(by_torch.std().item(), rel=0.08)


def test_a_linear_layer_keeps_the_default_under_every_scheme() -> None:
    models = [nn.Sequential(nn.Linear(9, 4)) for _ in SCHEMES]

    for model, scheme in zip(models, SCHEMES, strict=True):
        initialize(model, scheme, seed=7)

    assert models[0].get_parameter("0.bias").any()
    _assert_equal(_weights(models[0]), _weights(models[1]))
    _assert_equal(_weights(models[0]), _weights(models[2]))


def test_batch_norm_starts_afresh() -> None:
    model = build_model("tiny")
    model(torch.full((2, 3, 8, 8), 3.0))

    initialize(model, "kaiming", seed=7)

    assert not model.get_buffer("1.running_mean").any()
    assert model.get_buffer("1.num_batches_tracked") == 0
    assert torch.equal(model.get_parameter("1.weight"), torch.ones(16))


def test_a_residual_denoiser_starts_as_the_identity_under_kaiming() -> None:
    model = build_model("dncnn", depth=4, width=8)
    noisy_BCHW = torch.rand(2, 3, 9, 11, generator=torch.Generator().manual_seed(0))

    initialize(model, "kaiming", seed=7)

    assert torch.equal(model(noisy_BCHW), noisy_BCHW)


@pytest.mark.parametrize("scheme", ["pytorch", "paper"])
def test_a_residual_denoiser_does_not_start_as_the_identity_otherwise(scheme: Scheme) -> None:
    model = build_model("dncnn", depth=4, width=8)
    noisy_BCHW = torch.rand(2, 3, 9, 11, generator=torch.Generator().manual_seed(0))

    initialize(model, scheme, seed=7)

    assert not torch.equal(model(noisy_BCHW), noisy_BCHW)


def test_a_weight_that_is_computed_keeps_what_it_is_computed_from() -> None:
    with pytest.warns(FutureWarning, match="weight_norm"):
        layer = weight_norm(nn.Conv2d(2, 3, 1))
    before = {name: value.detach().clone() for name, value in layer.named_parameters()}

    initialize(nn.Sequential(layer), "pytorch", seed=1)

    after = dict(layer.named_parameters())
    assert {name for name in before if not torch.equal(before[name], after[name])} == {"bias"}
