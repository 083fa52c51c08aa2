"""Training with the engine takes the steps of conv(x, W * Phi), whatever the optimizer."""

from collections.abc import Callable
from copy import deepcopy
from typing import Any, Literal

import pytest
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from tests.kernels.networks import (
    Run,
    adamw,
    engine_run,
    largest_difference,
    loss_of,
    plain_run,
    reference_run,
    sgd,
    small_dncnn_5x5,
    small_resnet,
)
from wconv_kernels import Densities, DensityEngine, density_kernel, fold, replace_convolutions

GRADS: tuple[Literal["hook", "foreach"], ...] = ("hook", "foreach")

# torch.compile's advice to upgrade, which is no fault of ours.
OF_PYTHON_3_13_0 = pytest.mark.filterwarnings("ignore:Guards may run slower:RuntimeWarning")


def _optimizer(kind: Callable[..., Optimizer], **options: Any) -> Callable[[nn.Module], Optimizer]:
    return lambda model: kind(model.parameters(), **options)


class OrthogonalStep(Optimizer):
    """Steps along the polar factor of each gradient, as Muon does, and replaces p.data."""

    def __init__(self, parameters: Any, lr: float) -> None:
        super().__init__(parameters, {"lr": lr})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]  # takes no closure
        for group in self.param_groups:
            for parameter in group["params"]:
                matrix = parameter.grad.flatten(1) if parameter.dim() > 1 else parameter.grad[None]
                left, _, right = torch.linalg.svd(matrix, full_matrices=False)
                update = (left @ right).reshape(parameter.shape)
                parameter.data = parameter.data - group["lr"] * update


OPTIMIZERS = {
    "sgd": _optimizer(torch.optim.SGD, lr=0.05),
    "sgd-momentum": _optimizer(torch.optim.SGD, lr=0.05, momentum=0.9, dampening=0.3),
    "sgd-nesterov-decay": sgd,
    "sgd-foreach": _optimizer(torch.optim.SGD, lr=0.05, momentum=0.9, foreach=True),
    "adam": _optimizer(torch.optim.Adam, lr=1e-2),
    "adam-coupled-decay": _optimizer(torch.optim.Adam, lr=1e-2, weight_decay=0.1, eps=1e-3),
    "adam-amsgrad-fused": _optimizer(torch.optim.Adam, lr=1e-2, fused=True, amsgrad=True),
    "adamw": adamw,
    "rmsprop": _optimizer(torch.optim.RMSprop, lr=1e-3, momentum=0.9, weight_decay=1e-2),
    "rprop": _optimizer(torch.optim.Rprop, lr=1e-3),
    "orthogonal": _optimizer(OrthogonalStep, lr=1e-2),
}


def train_both(engine: Run, reference: Run, steps: int) -> None:
    for step in range(steps):
        engine.step(step)
        reference.step(step)


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.slow
def test_fifty_steps_equal_the_reference_bitwise(name: str) -> None:
    model = small_resnet()
    engine = engine_run(model, 0.7, OPTIMIZERS[name])
    reference = reference_run(model, 0.7, OPTIMIZERS[name])

    train_both(engine, reference, 50)

    assert engine.losses == reference.losses
    assert largest_difference(engine, reference) == 0.0


def test_the_same_run_without_the_engine_differs() -> None:
    model = small_resnet()
    plain = plain_run(model, sgd)
    initialized_alike = plain_run(fold(reference_run(model, 0.7, sgd).model), sgd)
    reference = reference_run(model, 0.7, sgd)

    for step in range(50):
        plain.step(step)
        initialized_alike.step(step)
        reference.step(step)

    assert largest_difference(plain, reference) > 1e-2
    assert largest_difference(initialized_alike, reference) > 1e-2


@pytest.mark.parametrize("make_optimizer", [sgd, adamw])
def test_fast_path_equals_the_reference_bitwise_where_each_step_has_one_backward(
    make_optimizer: Callable[[nn.Module], Optimizer],
) -> None:
    model = small_resnet()
    engine = engine_run(model, 0.7, make_optimizer, "foreach")
    reference = reference_run(model, 0.7, make_optimizer)

    train_both(engine, reference, 50)

    assert largest_difference(engine, reference) == 0.0


@pytest.mark.parametrize("density", [-0.5, 0.0, 0.05, 1.0, 1.5])
def test_any_density_equals_the_reference_even_where_taps_are_dead(density: float) -> None:
    model = small_resnet()
    engine = engine_run(model, density, adamw)
    reference = reference_run(model, density, adamw)

    train_both(engine, reference, 10)

    assert largest_difference(engine, reference) == 0.0


@pytest.mark.parametrize("density", [(0.2, 0.8), {3: 0.7, 5: (0.5, 1.5)}])
def test_kernels_of_size_five_and_of_mixed_sizes_equal_the_reference(density: Densities) -> None:
    model = small_dncnn_5x5()
    engine = engine_run(model, density, sgd)
    reference = reference_run(model, density, sgd)

    train_both(engine, reference, 10)

    assert largest_difference(engine, reference) == 0.0


@pytest.mark.parametrize("layer", [nn.Conv1d, nn.Conv3d])
def test_one_and_three_dimensions_equal_the_reference(layer: Callable[..., nn.Module]) -> None:
    torch.manual_seed(0)
    ndim = 1 if layer is nn.Conv1d else 3
    model = nn.Sequential(layer(1, 2, 3), nn.ReLU(), layer(2, 1, 3)).double()
    input = torch.randn(2, 1, *(6,) * ndim, dtype=torch.float64)
    runs = engine_run(model, 0.7, sgd), reference_run(model, 0.7, sgd)

    for run in runs:
        for _ in range(5):
            run.optimizer.zero_grad()
            run.model(input).square().mean().backward()
            run.optimizer.step()

    assert largest_difference(*runs) == 0.0


def test_float32_and_channels_last_equal_the_reference_bitwise() -> None:
    model = small_resnet(torch.float32).to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch declares no such overload
    engine = engine_run(model, 0.7, sgd)
    reference = reference_run(model, 0.7, sgd)

    for run in (engine, reference):
        for step in range(10):
            run.optimizer.zero_grad()
            torch.autograd.backward(loss_of(run.model, step, torch.float32))
            run.optimizer.step()

    weight = engine.model.get_parameter("3.weight")
    assert weight.is_contiguous(memory_format=torch.channels_last)
    assert largest_difference(engine, reference) == 0.0


@pytest.mark.parametrize("grads", GRADS)
def test_clipping_takes_the_norm_of_the_gradient_of_w(grads: Literal["hook", "foreach"]) -> None:
    model = small_resnet()
    engine = engine_run(model, 0.5, sgd, grads)
    reference = reference_run(model, 0.5, sgd)
    norms: list[tuple[float, float]] = []

    for step in range(10):
        for run in (engine, reference):
            run.optimizer.zero_grad()
            torch.autograd.backward(loss_of(run.model, step))
        norms.append((engine.clip(0.1).item(), reference.clip(0.1).item()))
        engine.optimizer.step()
        reference.optimizer.step()

    for actual, expected in norms:
        assert expected > 0.1
        assert actual == pytest.approx(expected, rel=1e-12)
    assert largest_difference(engine, reference) <= (0.0 if grads == "hook" else 1e-13)


def test_clipping_a_model_without_gradients_is_harmless() -> None:
    for grads in GRADS:
        assert engine_run(small_resnet(), 0.5, sgd, grads).clip(1.0).item() == 0.0


@pytest.mark.parametrize("grads", GRADS)
def test_four_accumulated_backwards_equal_the_reference(grads: Literal["hook", "foreach"]) -> None:
    model = small_resnet()
    engine = engine_run(model, 0.7, adamw, grads)
    reference = reference_run(model, 0.7, adamw)

    for step in range(5):
        for run in (engine, reference):
            run.optimizer.zero_grad()
            for micro_step in range(4):
                torch.autograd.backward(loss_of(run.model, 4 * step + micro_step) / 4)
            run.optimizer.step()

    assert largest_difference(engine, reference) <= (0.0 if grads == "hook" else 1e-9)


def test_a_second_step_on_the_same_gradient_equals_the_reference() -> None:
    model = small_resnet()
    engine = engine_run(model, 0.7, sgd, "foreach")
    reference = reference_run(model, 0.7, sgd)

    for run in (engine, reference):
        run.step(0)
        run.optimizer.step()

    assert largest_difference(engine, reference) == 0.0


@pytest.mark.parametrize("grads", GRADS)
def test_autocast_to_bfloat16_equals_the_reference_bitwise(
    grads: Literal["hook", "foreach"],
) -> None:
    model = small_resnet(torch.float32)
    engine = engine_run(model, 0.7, sgd, grads)
    reference = reference_run(model, 0.7, sgd)

    for run in (engine, reference):
        for step in range(20):
            run.optimizer.zero_grad()
            with torch.autocast("cpu", torch.bfloat16):
                loss = loss_of(run.model, step, torch.float32)
            torch.autograd.backward(loss)
            run.optimizer.step()

    assert largest_difference(engine, reference) == 0.0


def test_grad_scaler_skips_the_step_with_an_infinite_gradient_as_in_the_reference() -> None:
    model = small_resnet(torch.float32)
    engine = engine_run(model, 0.7, sgd)
    reference = reference_run(model, 0.7, sgd)
    scales = []

    for run in (engine, reference):
        scaler = torch.amp.GradScaler("cpu", init_scale=2.0**8)
        for step in range(6):
            run.optimizer.zero_grad()
            overflow = float("inf") if step == 2 else 1.0
            loss = loss_of(run.model, step, torch.float32) * overflow
            torch.autograd.backward(scaler.scale(loss))
            scaler.unscale_(run.optimizer)
            run.clip(1.0)
            scaler.step(run.optimizer)
            scaler.update()
        scales.append(scaler.get_scale())

    assert scales == [2.0**7, 2.0**7]
    assert largest_difference(engine, reference) == 0.0


def test_a_learning_rate_schedule_equals_the_reference() -> None:
    model = small_resnet()
    engine = engine_run(model, 0.7, sgd)
    reference = reference_run(model, 0.7, sgd)

    for run in (engine, reference):
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(run.optimizer, 8)
        for step in range(8):
            run.step(step)
            schedule.step()

    assert largest_difference(engine, reference) == 0.0


def test_tied_weights_equal_the_reference_up_to_rounding() -> None:
    torch.manual_seed(0)
    conv, twin = nn.Conv2d(3, 3, 3, padding=1), nn.Conv2d(3, 3, 3, padding=1)
    twin.weight = conv.weight
    model = nn.Sequential(conv, nn.Tanh(), twin, nn.Tanh(), conv, nn.Flatten(), nn.Linear(192, 5))
    engine = engine_run(model.double(), 0.7, sgd)
    reference = reference_run(model.double(), 0.7, sgd)

    train_both(engine, reference, 10)

    assert engine.engine is not None
    assert list(engine.engine.raw_weights()) == ["0"]
    assert largest_difference(engine, reference) < 1e-13


def test_frozen_weights_are_multiplied_once_and_join_when_they_are_unfrozen() -> None:
    model = small_resnet()
    model.get_parameter("0.weight").requires_grad_(False)
    engine = engine_run(model, 0.7, sgd)
    reference = reference_run(model, 0.7, sgd)

    train_both(engine, reference, 5)
    frozen_difference = largest_difference(engine, reference)
    for run in (engine, reference):
        run.model.get_parameter("0.weight").requires_grad_(True)
    train_both(engine, reference, 5)

    assert frozen_difference == 0.0
    assert largest_difference(engine, reference) == 0.0


def test_sites_left_out_by_name_stay_plain() -> None:
    model = small_resnet()
    engine_model, reference_model = deepcopy(model), deepcopy(model)
    engine = DensityEngine(engine_model, 0.7, exclude=["0", "8"])
    replace_convolutions(reference_model, 0.7, exclude=["0", "8"])
    runs = Run(engine_model, sgd(engine_model), engine), Run(reference_model, sgd(reference_model))
    engine.attach(runs[0].optimizer)

    train_both(*runs, 5)

    assert engine.sites == ("2.conv", "3", "6.conv")
    assert largest_difference(*runs) == 0.0


def test_the_model_holds_v_from_the_start_and_after_every_step() -> None:
    run = engine_run(small_resnet(), 0.5, sgd)
    phi = density_kernel(torch.tensor([0.5], dtype=torch.float64), 2)

    for step in range(3):
        assert run.engine is not None
        for name, raw in run.engine.raw_weights().items():
            assert torch.equal(run.model.get_parameter(f"{name}.weight"), raw * phi)
        run.step(step)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*torch.jit.script_method:DeprecationWarning")  # torch's own
@OF_PYTHON_3_13_0
@pytest.mark.skipif(
    " " in torch.__file__,
    reason="torch installed below a folder with a space: its call of g++ does not quote the path",
)
def test_a_model_compiled_by_inductor_equals_the_eager_one() -> None:
    torch.compiler.reset()
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 5, 3), nn.Flatten()
    )
    eager, compiled = engine_run(model, 0.7, sgd), engine_run(model, 0.7, sgd)
    network = torch.compile(compiled.model)

    for step in range(4):
        for run, call in ((eager, eager.model), (compiled, network)):
            run.optimizer.zero_grad()
            torch.autograd.backward(loss_of(call, step, torch.float32))
            run.optimizer.step()

    for name, value in eager.model.state_dict().items():
        torch.testing.assert_close(compiled.model.state_dict()[name], value, rtol=0, atol=1e-5)


@OF_PYTHON_3_13_0
@pytest.mark.slow
def test_a_compiled_model_is_not_compiled_again_after_a_step() -> None:
    torch.compiler.reset()
    engine = engine_run(small_resnet(), 0.7, sgd)
    reference = reference_run(small_resnet(), 0.7, sgd)
    graphs: list[torch.fx.GraphModule] = []

    def count(graph: torch.fx.GraphModule, inputs: list[Tensor]) -> Callable[..., Any]:
        graphs.append(graph)
        return graph.forward

    network = torch.compile(engine.model, backend=count)
    for step in range(4):
        engine.optimizer.zero_grad()
        torch.autograd.backward(loss_of(network, step))
        engine.optimizer.step()
        reference.step(step)

    assert len(graphs) == 1
    assert largest_difference(engine, reference) == 0.0


@OF_PYTHON_3_13_0
# torch 2.13's warning of itself, while it loads what traces an optimizer.
@pytest.mark.filterwarnings("ignore:.torch.jit.script_method. is deprecated:DeprecationWarning")
@pytest.mark.parametrize("grads", GRADS)
@pytest.mark.parametrize("make_optimizer", [sgd, adamw])
@pytest.mark.slow
def test_a_compiled_optimizer_steps_on_the_raw_weights(
    make_optimizer: Callable[[nn.Module], Optimizer], grads: Literal["hook", "foreach"]
) -> None:
    torch.compiler.reset()
    compiled = engine_run(small_resnet(), 0.7, make_optimizer, grads)
    reference = reference_run(small_resnet(), 0.7, make_optimizer)
    origins: list[str] = []

    def note(graph: torch.fx.GraphModule, inputs: list[Tensor]) -> Callable[..., Any]:
        origins.extend(node.stack_trace or "" for node in graph.graph.nodes)
        return graph.forward

    step = torch.compile(compiled.optimizer.step, backend=note)
    for number in range(4):
        compiled.optimizer.zero_grad()
        torch.autograd.backward(loss_of(compiled.model, number))
        step()
        reference.step(number)

    # The compiler counts the steps of AdamW in float32.
    assert largest_difference(compiled, reference) < 1e-5
    # Compiled, the exchange of W and V would leave one of them in both places, without a word.
    assert origins
    assert not [origin for origin in origins if "wconv_kernels" in origin]
