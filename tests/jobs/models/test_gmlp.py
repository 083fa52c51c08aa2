"""gMLP: size, cost, shape, and gates that start near one."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap
from torch.utils.flop_counter import FlopCounterMode

from wconv_jobs.errors import JobError
from wconv_jobs.models import build_model
from wconv_jobs.models.gmlp import SMOKE, Block, SpatialGate, SpatialProjection
from wconv_jobs.training.initialization import Scheme, initialize
from wconv_kernels import sites

# Shape letters: B batch, C channels, H height, W width, N tokens, D width, F width of the gate.

SMALL: dict[str, Any] = {"width": 4, "ffn_width": 6, "depth": 2, "num_classes": 3}


def _random(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("options", "parameters"),
    [
        ({}, 2_803_812),
        ({"stem": "2x2"}, 2_799_972),
        ({"stem": "4x4"}, 2_439_396),
        ({"num_classes": 10}, 2_803_812 - 90 * 257),
        ({"channels": 1}, 2_803_812 - 2 * 9 * 256),
        # 4 tokens: stem 3*9*2 + 2; norm 2*2, 2*6 + 6, norm 2*3, gate 4*4 + 4, 3*2 + 2; 2*5 + 5
        (
            {"image_px": 4, "width": 2, "ffn_width": 3, "depth": 1, "num_classes": 5},
            56 + (4 + 18 + 6 + 20 + 8) + 15,
        ),
    ],
)
def test_number_of_parameters(options: dict[str, Any], parameters: int) -> None:
    with torch.device("meta"):
        model = build_model("gmlp", **options)

    assert sum(parameter.numel() for parameter in model.parameters()) == parameters


def test_multiplications_for_one_image() -> None:
    with torch.device("meta"):
        model, image_BCHW = build_model("gmlp"), torch.empty(1, 3, 32, 32)

    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(image_BCHW)

    assert round(counter.get_total_flops() / 2e6) == 807


def test_the_density_acts_on_the_stem_alone() -> None:
    with torch.device("meta"):
        model = build_model("gmlp")

    assert list(sites(model, (0.95,))) == ["stem"]


@pytest.mark.parametrize("stem", ["2x2", "4x4"])
def test_patches_have_an_even_kernel(stem: str) -> None:
    with torch.device("meta"):
        model = build_model("gmlp", stem=stem)

    kernels = [m.kernel_size for m in model.modules() if isinstance(m, nn.Conv2d)]

    assert kernels == [(int(stem[0]), int(stem[0]))]


@pytest.mark.parametrize(
    ("stem", "image_px"), [("3x3", 8), ("3x3", 7), ("2x2", 8), ("4x4", 8), ("4x4", 4)]
)
def test_an_image_of_the_right_size_gives_one_logit_per_class(stem: str, image_px: int) -> None:
    model = build_model("gmlp", stem=stem, image_px=image_px, **SMALL)

    assert model(torch.zeros(2, 3, image_px, image_px)).shape == (2, 3)


@pytest.mark.parametrize("size", [(8, 9), (9, 8), (16, 4), (7, 7)])
def test_an_image_of_another_size_is_refused(size: tuple[int, int]) -> None:
    model = build_model("gmlp", image_px=8, **SMALL)

    with pytest.raises(JobError) as raised:
        model(torch.zeros(2, 3, *size))

    assert str(raised.value) == (
        f"models: gmlp: an image has {size[0]} x {size[1]} pixels, but the network has one weight "
        "for each pair of tokens of an image of 8 x 8. Set its option 'image_px' to the side of "
        "the images, which must be square."
    )


@pytest.mark.parametrize(("stem", "image_px", "patch"), [("2x2", 31, 2), ("4x4", 30, 4)])
def test_patches_that_do_not_tile_the_image_are_refused(
    stem: str, image_px: int, patch: int
) -> None:
    with pytest.raises(JobError) as raised:
        build_model("gmlp", stem=stem, image_px=image_px)

    assert str(raised.value) == (
        f"models: gmlp: option 'image_px' is {image_px}, but the patches of stem '{stem}' need "
        f"a multiple of {patch}. Change 'image_px'."
    )


def test_the_spatial_projection_mixes_tokens_and_not_features() -> None:
    projection = SpatialProjection(2)
    with torch.no_grad():
        projection.weight.copy_(torch.tensor([[0.0, 1.0], [2.0, 0.0]]))
        projection.bias.copy_(torch.tensor([1.0, 10.0]))
    x_BNF = torch.tensor([[[1.0, 2.0], [3.0, 4.0]]])

    y_BNF = projection(x_BNF)

    assert y_BNF.tolist() == [[[4.0, 5.0], [12.0, 14.0]]]


@pytest.mark.parametrize("scheme", ["pytorch", "kaiming", "paper"])
def test_every_gate_starts_near_one(scheme: Scheme) -> None:
    model = build_model("gmlp", image_px=8, **SMALL)
    for parameter in model.parameters():
        nn.init.constant_(parameter, 7.0)

    initialize(model, scheme, seed=3)

    projections = [m for m in model.modules() if isinstance(m, SpatialProjection)]
    assert len(projections) == 2
    for projection in projections:
        assert torch.equal(projection.bias, torch.ones(16))
        # 256 draws from U(-b, b): the largest is below 0.9 b with a probability of 2e-12.
        assert 0.9e-3 / 16 < projection.weight.abs().max() <= 1e-3 / 16


def test_a_gate_starts_by_passing_on_its_first_half() -> None:
    gate = SpatialGate(6, tokens=16).double()
    x_BN2F = _random(2, 16, 12)

    y_BNF = gate(x_BN2F)

    # 16 weights of at most 1e-3 / 16, times normed values, which cannot exceed sqrt(F - 1).
    torch.testing.assert_close(y_BNF, x_BN2F[..., :6], rtol=1e-3 * 5**0.5, atol=0)


def test_a_block_adds_the_gated_features_to_its_input() -> None:
    block = Block(4, 6, tokens=16).double()
    nn.init.zeros_(block.gate.projection.weight)
    x_BND = _random(2, 16, 4)
    mean_BN1, variance_BN1 = x_BND.mean(2, keepdim=True), x_BND.var(2, correction=0, keepdim=True)
    normed_BND = (x_BND - mean_BN1) / (variance_BN1 + 1e-5).sqrt()
    features_BNF = normed_BND @ block.expand.weight[:6].T + block.expand.bias[:6]
    gated_BNF = features_BNF * 0.5 * (1 + torch.erf(features_BNF / 2**0.5))

    y_BND = block(x_BND)

    expected_BND = x_BND + gated_BNF @ block.project.weight.T + block.project.bias
    torch.testing.assert_close(y_BND, expected_BND, rtol=1e-12, atol=1e-12)


def test_stacked_networks_give_what_each_gives_alone() -> None:
    models = [build_model("gmlp", image_px=8, **SMALL).double() for _ in range(3)]
    for seed, model in enumerate(models):
        initialize(model, "kaiming", seed)
    image_BCHW = _random(2, 3, 8, 8)

    def one(state: dict[str, Tensor]) -> Tensor:
        logits: Tensor = functional_call(models[0], state, (image_BCHW,))
        return logits

    together = vmap(one)(stack_module_state(models)[0])

    alone = torch.stack([model(image_BCHW) for model in models])
    torch.testing.assert_close(together, alone, rtol=1e-12, atol=1e-12)


def test_a_smoke_run_has_every_kind_of_layer() -> None:
    with torch.device("meta"):
        full, smoke = build_model("gmlp"), build_model("gmlp", **SMOKE)

    assert {type(m) for m in smoke.modules()} == {type(m) for m in full.modules()}
