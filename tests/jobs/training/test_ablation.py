"""The two halves of a density's effect: each is what it says, and together they are the whole."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from tests.jobs.trials import Recorder, denoising, same_state, saved
from wconv_jobs.errors import JobError
from wconv_jobs.messages import Verdict
from wconv_jobs.spec import Ablation, SitesSpec, TrialSpec
from wconv_jobs.training import loop
from wconv_jobs.training.ablation import density_engine
from wconv_jobs.training.loop import train
from wconv_kernels import DensityEngine

PHI = torch.tensor([[0.25, 0.5, 0.25], [0.5, 1.0, 0.5], [0.25, 0.5, 0.25]])
"""Of the density 0.5."""


def step_once(ablation: Ablation) -> tuple[Tensor, Tensor]:
    """Return the weights of a 3x3 convolution before and after a step of SGD.

    All weights are 2 at first, the input is 1 everywhere and the loss the output: dL/dV = 1.
    """
    conv = nn.Conv2d(1, 1, 3, bias=False)
    nn.init.constant_(conv.weight, 2.0)
    engine = density_engine(conv, (0.5,), ablation, SitesSpec())
    optimizer = torch.optim.SGD(conv.parameters(), lr=0.125)
    if engine is not None:
        engine.attach(optimizer)
    before = conv.weight.detach()[0, 0].clone()
    torch.autograd.backward(conv(torch.ones(1, 1, 3, 3)).sum())
    optimizer.step()
    return before, conv.weight.detach()[0, 0]


@pytest.mark.slow
def test_initial_weights_alone_start_scaled_and_step_like_plain_convolution() -> None:
    before, after = step_once("initial weights")

    assert torch.equal(before, 2 * PHI)
    assert torch.equal(after, 2 * PHI - 0.125)


def test_the_gradient_alone_starts_like_plain_convolution_and_steps_by_phi_squared() -> None:
    """V = W Phi and W steps by lr Phi: V steps by lr Phi^2. All numbers are powers of two."""
    before, after = step_once("gradient")

    assert torch.equal(before, torch.full((3, 3), 2.0))
    assert torch.equal(after, 2 - 0.125 * PHI**2)


def test_both_together_are_the_weighted_convolution() -> None:
    before, after = step_once("none")

    assert torch.equal(before, 2 * PHI)
    assert torch.equal(after, 2 * PHI - 0.125 * PHI**2)


def test_plain_convolution_is_the_stock_network_also_in_what_a_step_takes() -> None:
    conv = nn.Conv2d(1, 1, 3, bias=False)
    before = conv.weight.detach().clone()

    assert density_engine(conv, (1.0,), "none", SitesSpec()) is None

    assert torch.equal(conv.weight, before)
    assert not conv.weight._backward_hooks


def test_a_plain_trial_of_a_version_that_multiplied_by_ones_goes_on_to_the_same_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = train(denoising(tmp_path / "whole", density=(1.0,)), Recorder())

    spec = denoising(tmp_path / "parts", density=(1.0,))
    with monkeypatch.context() as earlier:
        earlier.setattr(loop, "density_engine", lambda model, ones, *_: DensityEngine(model, ones))
        train(spec, Recorder({1: Verdict.STOP}))
    assert "density_engine" in saved(tmp_path / "parts")["optimizer"]
    resumed = train(spec, Recorder())

    assert resumed.metrics == expected.metrics
    assert same_state(saved(tmp_path / "parts"), saved(tmp_path / "whole"))


@pytest.mark.parametrize("ablation", ["none", "initial weights", "gradient"])
def test_a_layer_that_a_study_leaves_out_stays_plain(ablation: Ablation) -> None:
    """Two layers of weight 1: of the sum of their outputs, each has a gradient of 1."""
    both = nn.ModuleDict({name: nn.Conv2d(1, 1, 3, bias=False) for name in ("scaled", "plain")})
    for layer in both.values():
        nn.init.constant_(layer.weight, 1.0)  # type: ignore[arg-type]
    engine = density_engine(both, (0.5,), ablation, SitesSpec(exclude=["pl*"]))
    optimizer = torch.optim.SGD(both.parameters(), lr=0.125)
    if engine is not None:
        engine.attach(optimizer)

    torch.autograd.backward(sum(layer(torch.ones(1, 1, 3, 3)).sum() for layer in both.values()))
    optimizer.step()

    plain = torch.full((3, 3), 1 - 0.125)
    assert torch.equal(both["plain"].weight[0, 0], plain)  # type: ignore[index]
    assert not torch.equal(both["scaled"].weight[0, 0], plain)  # type: ignore[index]


def test_a_gradient_scaled_by_zero_is_refused() -> None:
    with pytest.raises(JobError, match=r"the density \(0.0,\) has a 0"):
        density_engine(nn.Conv2d(1, 1, 3), (0.0,), "gradient", SitesSpec())


def ablated(folder: Path, ablation: Ablation, density: tuple[float, ...] = (0.7,)) -> TrialSpec:
    spec = denoising(folder / ablation, density=density)
    return spec.model_copy(update={"ablation": ablation})


@pytest.mark.slow
@pytest.mark.parametrize("ablation", ["initial weights", "gradient"])
def test_at_a_density_of_ones_there_is_nothing_to_take_away(
    ablation: Ablation, tmp_path: Path
) -> None:
    whole = train(ablated(tmp_path, "none", (1.0,)), Recorder()).metrics
    half = train(ablated(tmp_path, ablation, (1.0,)), Recorder()).metrics

    assert half == pytest.approx(whole, rel=1e-12)


@pytest.mark.slow
def test_the_four_runs_of_an_ablation_differ(tmp_path: Path) -> None:
    plain = train(denoising(tmp_path / "plain", density=(1.0,)), Recorder())
    rest: list[Ablation] = ["none", "initial weights", "gradient"]
    scores = {train(ablated(tmp_path, each), Recorder()).metrics["psnr_db"] for each in rest}

    assert len(scores | {plain.metrics["psnr_db"]}) == 4


@pytest.mark.slow
@pytest.mark.parametrize("ablation", ["initial weights", "gradient"])
def test_an_interrupted_half_ends_with_the_numbers_of_a_whole_run(
    ablation: Ablation, tmp_path: Path
) -> None:
    whole = train(ablated(tmp_path / "whole", ablation), Recorder())
    stopped = ablated(tmp_path / "stopped", ablation)
    train(stopped, Recorder({1: Verdict.STOP}))

    resumed = train(stopped, Recorder({}))

    assert resumed.metrics == whole.metrics
