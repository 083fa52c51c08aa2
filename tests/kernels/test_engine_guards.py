"""The engine refuses, or survives, whatever would silently train another network."""

from copy import deepcopy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from tests.kernels.networks import (
    Run,
    engine_run,
    largest_difference,
    loss_of,
    reference_run,
    sgd,
    small_resnet,
)
from wconv_kernels import DensityEngine, EngineError, SiteError, density_kernel


def engine_of(run: Run) -> DensityEngine:
    assert run.engine is not None
    return run.engine


def break_next_step(optimizer: Optimizer) -> None:
    """Make the next step raise after the second parameter was updated."""

    def fail_in_the_middle(self: Any, args: Any, kwargs: Any) -> None:
        handle.remove()
        with torch.no_grad():
            for parameter in self.param_groups[0]["params"][:2]:
                parameter.add_(1.0)
        raise MemoryError("out of memory")

    handle = optimizer.register_step_pre_hook(fail_in_the_middle)


def test_a_backward_before_attach_is_refused_in_both_modes() -> None:
    for grads in ("hook", "foreach"):
        model = small_resnet()
        engine = DensityEngine(model, 0.7, grads=grads)

        assert not engine.attached
        with pytest.raises(EngineError, match=r"backward before attach: .* as if there were no"):
            torch.autograd.backward(loss_of(model, 0))


def test_attached_is_true_once_an_optimizer_is_attached() -> None:
    assert engine_of(engine_run(small_resnet(), 0.7, sgd)).attached


def test_an_unknown_gradient_mode_is_refused() -> None:
    with pytest.raises(ValueError, match='grads is "hook" or "foreach", but got \'fused\''):
        DensityEngine(small_resnet(), 0.7, grads="fused")  # type: ignore[arg-type]  # on purpose


def test_a_second_attach_is_refused() -> None:
    run = engine_run(small_resnet(), 0.7, sgd)

    with pytest.raises(EngineError, match="one engine serves one optimizer"):
        engine_of(run).attach(sgd(run.model))


def test_a_second_engine_on_the_same_model_is_refused_and_changes_nothing() -> None:
    run = engine_run(small_resnet(), 0.7, sgd)
    before = deepcopy(run.model.state_dict())

    with pytest.raises(EngineError, match="the model has an engine already"):
        DensityEngine(run.model, 0.7)

    assert all(torch.equal(run.model.state_dict()[name], v) for name, v in before.items())


def test_an_optimizer_that_misses_a_site_is_refused_by_name() -> None:
    model = small_resnet()
    engine = DensityEngine(model, 0.7)
    some = [p for name, p in model.named_parameters() if name != "3.weight"]

    with pytest.raises(EngineError, match="one optimizer must own all site weights, but 3 are"):
        engine.attach(torch.optim.SGD(some, 0.1))


def test_a_frozen_site_may_be_missing_until_it_is_unfrozen() -> None:
    model = small_resnet()
    weight = model.get_parameter("3.weight").requires_grad_(False)
    engine = DensityEngine(model, 0.7)
    optimizer = torch.optim.SGD([p for p in model.parameters() if p is not weight], 0.1)
    run = Run(model, optimizer, engine)
    engine.attach(optimizer)

    run.step(0)
    weight.requires_grad_(True)
    with pytest.raises(EngineError, match="one optimizer must own all site weights, but 3 are"):
        run.step(1)
    optimizer.add_param_group({"params": [weight]})
    run.step(1)

    phi = density_kernel(torch.tensor([0.7], dtype=torch.float64), 2)
    assert torch.equal(weight, engine.raw_weights()["3"] * phi)


def test_an_optimizer_with_closures_is_refused() -> None:
    model = small_resnet()
    engine = DensityEngine(model, 0.7)

    with pytest.raises(EngineError, match="closures are not supported"):
        engine.attach(torch.optim.LBFGS(model.parameters()))


@pytest.mark.parametrize("by_keyword", [False, True])
def test_a_step_with_a_closure_is_refused_before_it_does_anything(by_keyword: bool) -> None:
    run = engine_run(small_resnet(), 0.7, sgd)
    before = deepcopy(run.model.state_dict())

    def closure() -> float:
        return loss_of(run.model, 0).item()

    arguments: dict[str, Any] = {"closure": closure} if by_keyword else {}
    with pytest.raises(EngineError, match="train with replace_convolutions instead"):
        run.optimizer.step(*(() if by_keyword else (closure,)), **arguments)

    assert all(torch.equal(run.model.state_dict()[name], v) for name, v in before.items())


@pytest.mark.parametrize("grads", ["hook", "foreach"])
def test_a_step_that_raises_is_repaired_to_the_state_of_the_reference(grads: Any) -> None:
    model = small_resnet()
    engine = engine_run(model, 0.7, sgd, grads)
    reference = reference_run(model, 0.7, sgd)

    for run in (engine, reference):
        run.step(0)
        break_next_step(run.optimizer)
        with pytest.raises(MemoryError, match="out of memory"):
            run.step(1)
    engine_of(engine).repair()

    assert largest_difference(engine, reference) == 0.0
    for run in (engine, reference):
        run.step(2)
    assert largest_difference(engine, reference) == 0.0


def test_after_a_step_that_raised_nothing_goes_on_before_the_repair() -> None:
    message = r"the model holds W instead of V; call engine\.repair\(\)"
    run = engine_run(small_resnet(), 0.7, sgd)
    engine = engine_of(run)
    break_next_step(run.optimizer)

    with pytest.raises(MemoryError):
        run.step(0)

    for forbidden in (
        lambda: run.step(1),
        run.optimizer.step,
        run.optimizer.state_dict,
        lambda: run.optimizer.load_state_dict({}),
        engine.raw_weights,
        engine.adopt_weights,
        engine.detach,
        engine.restore,
    ):
        with pytest.raises(EngineError, match=message):
            forbidden()


def test_a_repair_without_an_interrupted_step_does_nothing() -> None:
    run = engine_run(small_resnet(), 0.7, sgd)
    before = deepcopy(run.model.state_dict())

    engine_of(run).repair()

    assert all(torch.equal(run.model.state_dict()[name], v) for name, v in before.items())


def test_weights_changed_outside_the_optimizer_are_noticed_at_the_next_step() -> None:
    run = engine_run(small_resnet(), 0.7, sgd)
    nn.init.zeros_(run.model.get_parameter("3.weight"))

    with pytest.raises(EngineError, match="weight of '3' was changed outside the attached"):
        run.step(0)


def test_an_optimizer_that_is_not_attached_is_noticed_at_the_next_backward() -> None:
    run = engine_run(small_resnet(), 0.7, sgd)
    stranger = sgd(run.model)
    torch.autograd.backward(loss_of(run.model, 0))
    stranger.step()

    with pytest.raises(EngineError, match="weight of '8' was changed outside the attached opt"):
        torch.autograd.backward(loss_of(run.model, 1))


def test_weights_changed_before_attach_are_noticed_even_through_data() -> None:
    model = small_resnet()
    engine = DensityEngine(model, 0.7)
    model.get_parameter("3.weight").data.zero_()

    with pytest.raises(EngineError, match="weight of '3' was changed outside the attached"):
        engine.attach(sgd(model))


def test_a_write_of_equal_values_is_harmless() -> None:
    run = engine_run(small_resnet(), 0.7, sgd)
    run.step(0)

    run.model.load_state_dict(deepcopy(run.model.state_dict()))
    run.step(1)

    assert len(run.losses) == 2


def test_weights_changed_by_hand_train_on_once_they_are_adopted() -> None:
    model = small_resnet()
    engine = engine_run(model, 0.5, sgd)  # a power of two: V / Phi is exact
    changed = engine.model.get_parameter("3.weight")
    nn.init.ones_(changed)
    phi = density_kernel(torch.tensor([0.5], dtype=torch.float64), 2)
    model.get_parameter("3.weight").data = torch.ones_like(changed) / phi
    reference = reference_run(model, 0.5, sgd)

    engine_of(engine).adopt_weights()
    for run in (engine, reference):
        run.step(0)

    assert largest_difference(engine, reference) == 0.0


def test_adopted_weights_are_divided_by_phi_and_dead_taps_keep_theirs() -> None:
    model = nn.Sequential(nn.Conv1d(1, 1, 5, bias=False))
    weight = model.get_parameter("0.weight")
    nn.init.constant_(weight, 3.0)
    engine = DensityEngine(model, (0.0, 0.5))
    nn.init.ones_(weight)

    engine.adopt_weights()

    assert engine.raw_weights()["0"].flatten().tolist() == [3.0, 2.0, 1.0, 2.0, 3.0]
    assert weight.flatten().tolist() == [0.0, 1.0, 1.0, 1.0, 0.0]


def test_a_model_cast_after_the_engine_was_built_is_refused() -> None:
    model = small_resnet()
    engine = DensityEngine(model, 0.7)
    model.float()

    with pytest.raises(EngineError, match=r"was moved from cpu, torch\.float64 to cpu, torch\.f"):
        engine.attach(sgd(model))


def test_a_graph_recorded_before_the_step_is_caught_by_the_version_counters() -> None:
    run = engine_run(small_resnet(), 0.7, sgd)
    stale = loss_of(run.model, 0)
    run.step(1)

    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        torch.autograd.backward(stale)


def test_a_density_without_a_site_is_refused_before_anything_changes() -> None:
    model = small_resnet()
    before = deepcopy(model.state_dict())

    with pytest.raises(SiteError, match="kernel size 7 finds no convolution"):
        DensityEngine(model, {3: 0.7, 7: (1, 1, 1)})

    assert all(torch.equal(model.state_dict()[name], value) for name, value in before.items())


def test_detach_leaves_a_plain_network_that_holds_v() -> None:
    run = engine_run(small_resnet(), 0.7, sgd)
    run.step(0)
    folded = deepcopy(run.model.state_dict())

    engine_of(run).detach()
    torch.autograd.backward(loss_of(run.model, 1))
    run.optimizer.step()

    assert not engine_of(run).attached
    assert "density_engine" not in run.optimizer.state_dict()
    assert not torch.equal(run.model.get_parameter("3.weight"), folded["3.weight"])
    with pytest.raises(EngineError, match="the engine was detached; build a new one"):
        engine_of(run).attach(run.optimizer)


def test_restore_puts_w_back_bitwise_so_that_a_new_engine_can_go_on() -> None:
    model = small_resnet()
    before = deepcopy(model.state_dict())

    DensityEngine(model, 0.0).restore()

    assert all(torch.equal(model.state_dict()[name], value) for name, value in before.items())
    assert DensityEngine(model, 0.5).sites


def test_a_copy_of_the_model_carries_no_engine() -> None:
    run = engine_run(small_resnet(), 0.7, sgd)

    average = deepcopy(run.model)
    torch.autograd.backward(loss_of(average, 0))

    gradient: Tensor | None = average.get_parameter("3.weight").grad
    assert gradient is not None
    assert DensityEngine(average, 0.7).sites
