"""EfficientNet-B0: size, shape, sites, blocks, and training beside unused parameters."""

from datetime import timedelta
from pathlib import Path

import pytest
import torch
from torch import distributed, nn
from torch.multiprocessing.spawn import spawn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import SGD
from torch.utils.flop_counter import FlopCounterMode

from wconv_jobs.models import build_model
from wconv_kernels import sites

# Shape letters: B batch, C channels, H height, W width.

RANKS = 2


@pytest.mark.parametrize(
    ("options", "parameters"),
    [
        # The count that implementations of this variant state for 100 classes.
        ({}, 3_628_576),
        ({"num_classes": 10}, 3_628_576 - 90 * 321),
        ({"channels": 1}, 3_628_576 - 2 * 9 * 32),
    ],
)
def test_number_of_parameters(options: dict[str, object], parameters: int) -> None:
    with torch.device("meta"):
        model = build_model("efficientnet_b0", **options)

    assert sum(p.numel() for p in model.parameters() if p.requires_grad) == parameters


def test_multiplications_of_a_32x32_image() -> None:
    with torch.device("meta"):
        model, image_BCHW = build_model("efficientnet_b0"), torch.empty(1, 3, 32, 32)

    with FlopCounterMode(display=False) as counter:
        model(image_BCHW)

    assert counter.get_total_flops() / 2 == pytest.approx(30.4e6, abs=0.05e6)


@pytest.mark.parametrize(
    ("density", "convolutions"),
    [((0.8,), 8), ((0.6, 0.8), 9), ({3: (0.8,), 5: (0.6, 0.8)}, 17)],
)
def test_a_density_acts_on_the_convolutions_of_its_size(
    density: dict[int, tuple[float, ...]] | tuple[float, ...], convolutions: int
) -> None:
    with torch.device("meta"):
        model = build_model("efficientnet_b0")

    assert len(sites(model, density)) == convolutions


@pytest.mark.parametrize("size", [(1, 1), (7, 12), (33, 35)])
def test_an_image_of_any_size_gives_one_logit_per_class(size: tuple[int, int]) -> None:
    model = build_model("efficientnet_b0", width=0.1, num_classes=7, channels=2)

    assert model(torch.zeros(2, 2, *size)).shape == (2, 7)


@pytest.mark.parametrize(
    ("width", "stem", "last"), [(0.1, 8, 32), (0.5, 16, 160), (1.0, 32, 320), (1.4, 48, 448)]
)
def test_the_width_scales_channels_to_multiples_of_8(width: float, stem: int, last: int) -> None:
    with torch.device("meta"):
        model = build_model("efficientnet_b0", width=width)

    assert model.get_parameter("stem.0.weight").shape == (stem, 3, 3, 3)
    assert model.get_parameter("head.3.weight").shape == (100, last)


def test_a_block_of_equal_shapes_adds_its_input() -> None:
    model = build_model("efficientnet_b0", width=0.25)
    repeated, widening = model.get_submodule("blocks.2"), model.get_submodule("blocks.3")
    nn.init.zeros_(repeated.get_parameter("layers.8.weight"))
    nn.init.zeros_(widening.get_parameter("layers.8.weight"))
    image_BCHW = torch.ones(2, 8, 3, 3)

    assert torch.equal(repeated(image_BCHW), image_BCHW)
    assert not widening(image_BCHW).any()


def test_a_gate_scales_each_channel_by_the_sigmoid_of_its_own_sum() -> None:
    gate = build_model("efficientnet_b0", width=0.25).get_submodule("blocks.0.layers.3")
    for parameter in gate.parameters():
        nn.init.zeros_(parameter)
    with torch.no_grad():
        gate.get_parameter("layers.3.bias")[0] = torch.log(torch.tensor(3.0))
    image_BCHW = torch.full((1, 8, 1, 1), 4.0)

    gated_BCHW = gate(image_BCHW)

    # 4 * 3 / (3 + 1), and 4 * 1 / (1 + 1)
    torch.testing.assert_close(gated_BCHW.flatten(), torch.tensor([3.0] + [2.0] * 7))


def test_all_parameters_but_those_of_the_unused_expansion_are_trained() -> None:
    torch.manual_seed(0)
    model = build_model("efficientnet_b0", width=0.1)

    torch.autograd.backward(model(torch.rand(2, 3, 8, 8)).square().sum())

    idle = [name for name, parameter in model.named_parameters() if parameter.grad is None]
    assert idle == [f"unused_expansion.{name}" for name in ("0.weight", "1.weight", "1.bias")]


def _train(rank: int, folder: Path) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group(
        "gloo",
        init_method=f"file://{folder}/rendezvous",
        rank=rank,
        world_size=RANKS,
        timeout=timedelta(seconds=120),
    )
    torch.manual_seed(0)
    model = build_model("efficientnet_b0", width=0.1)
    wrapped = DistributedDataParallel(model)
    optimizer = SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4)
    torch.manual_seed(rank)
    # A gradient that does not arrive in the first step is an error in the second.
    for _ in range(3):
        optimizer.zero_grad()
        torch.autograd.backward(wrapped(torch.rand(2, 3, 8, 8)).square().mean())
        optimizer.step()
    torch.save(dict(model.named_parameters()), folder / f"trained-{rank}.pt")
    distributed.destroy_process_group()


@pytest.mark.slow
def test_two_ranks_take_the_same_steps(tmp_path: Path) -> None:
    spawn(_train, (tmp_path,), nprocs=RANKS)  # type: ignore[no-untyped-call]  # not annotated

    first, second = (torch.load(tmp_path / f"trained-{rank}.pt") for rank in range(RANKS))
    assert all(torch.equal(first[name], second[name]) for name in first)
