"""The optimizers: what each keeps in memory, and that none forgets to say so."""

from pathlib import Path
from typing import Annotated, Literal, get_args

import pytest
import torch
from pydantic import Field, FiniteFloat
from torch.optim import SGD, Adam, AdamW

from tests.jobs.trials import Recorder, denoising, same_state, saved
from tests.kernels.networks import loss_of, small_resnet
from wconv_jobs.recipe.optimizer import AdamSpec, OptimizerSpec, SgdSpec, _Optimizer
from wconv_jobs.spec_base import Spec
from wconv_jobs.training.loop import train
from wconv_kernels import DensityEngine

MOMENTUM = SgdSpec(name="sgd", lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.01)
PLAIN_SGD = SgdSpec(name="sgd", lr=0.1)
ADAM = AdamSpec(name="adam", lr=0.1, betas=(0.8, 0.9), eps=1e-6)
ADAMW = AdamSpec(name="adamw", lr=0.1, weight_decay=0.01)
EACH = [PLAIN_SGD, MOMENTUM, ADAM, ADAMW]


def test_all_optimizers_of_a_recipe_are_tried_here() -> None:
    classes: tuple[type[Spec], ...] = get_args(get_args(OptimizerSpec)[0])
    names = {name for each in classes for name in get_args(each.model_fields["name"].annotation)}

    assert {each.name for each in EACH} == names


@pytest.mark.parametrize("spec", EACH, ids=lambda spec: f"{spec.name}-{spec.states_per_parameter}")
def test_an_optimizer_keeps_as_many_tensors_per_parameter_as_it_says(
    spec: SgdSpec | AdamSpec,
) -> None:
    weight = torch.nn.Parameter(torch.ones(3, 5))
    optimizer = spec.build([weight])
    weight.sum().backward()  # type: ignore[no-untyped-call]
    optimizer.step()

    kept = [
        value
        for value in optimizer.state[weight].values()
        if isinstance(value, torch.Tensor) and value.shape == weight.shape
    ]
    assert len(kept) == spec.states_per_parameter


def test_an_optimizer_that_does_not_say_what_it_keeps_cannot_be_used() -> None:
    class LionSpec(_Optimizer):
        name: Literal["lion"]
        lr: Annotated[FiniteFloat, Field(gt=0)]

    with pytest.raises(TypeError, match="states_per_parameter"):
        LionSpec(name="lion", lr=0.1)  # type: ignore[abstract]


def test_the_options_reach_torch() -> None:
    weight = torch.nn.Parameter(torch.ones(1))

    momentum, adam, adamw = (each.build([weight]) for each in (MOMENTUM, ADAM, ADAMW))

    kinds = [type(each) for each in (momentum, adam, adamw)]
    assert kinds == [SGD, Adam, AdamW]
    keys = ("lr", "momentum", "nesterov", "weight_decay")
    assert [momentum.defaults[key] for key in keys] == [0.1, 0.9, True, 0.01]
    assert (adam.defaults["betas"], adam.defaults["eps"]) == ((0.8, 0.9), 1e-6)
    assert adamw.defaults["weight_decay"] == 0.01


@pytest.mark.parametrize("spec", EACH, ids=lambda spec: f"{spec.name}-{spec.states_per_parameter}")
@pytest.mark.parametrize("implementation", ["loop", "foreach", "fused"])
def test_every_implementation_takes_the_same_steps_on_weighted_convolutions(
    spec: SgdSpec | AdamSpec, implementation: Literal["loop", "foreach", "fused"]
) -> None:
    weights = {}
    for chosen in (None, implementation):
        model = small_resnet()
        engine = DensityEngine(model, (0.7,))
        optimizer = spec.model_copy(update={"implementation": chosen}).build(model.parameters())
        engine.attach(optimizer)
        for step in range(3):
            optimizer.zero_grad()
            torch.autograd.backward(loss_of(model, step))
            optimizer.step()
        weights[chosen] = model.state_dict()

    is_chosen = {name: optimizer.defaults[name] for name in ("foreach", "fused")}
    assert is_chosen == {name: name == implementation for name in ("foreach", "fused")}
    for name, value in weights[None].items():
        torch.testing.assert_close(weights[implementation][name], value, rtol=0, atol=1e-9)


@pytest.mark.parametrize("implementation", ["foreach", "fused"])
def test_a_run_that_is_resumed_steps_as_it_did_before(implementation: str, tmp_path: Path) -> None:
    optimizer = AdamSpec.model_validate(
        {"name": "adamw", "lr": 0.01, "weight_decay": 0.1, "implementation": implementation}
    )
    train(denoising(tmp_path / "whole", optimizer=optimizer), Recorder())

    steps = iter(range(100))
    stopped = denoising(tmp_path / "parts", optimizer=optimizer)
    train(stopped, Recorder(), demanded=lambda: next(steps) >= 2)
    train(stopped, Recorder())

    assert same_state(saved(tmp_path / "parts"), saved(tmp_path / "whole"))
