"""Save and resume with the engine is bitwise: W travels inside the optimizer's state."""

from copy import deepcopy
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from torch import nn

from tests.kernels.networks import (
    Run,
    adamw,
    engine_run,
    largest_difference,
    reference_run,
    sgd,
    small_resnet,
)
from wconv_kernels import Densities, EngineError


def save(run: Run, path: Path) -> None:
    torch.save({"model": run.model.state_dict(), "optimizer": run.optimizer.state_dict()}, path)


def other_model() -> nn.Module:
    """The same network from another seed: nothing of it may survive a resume."""
    model = small_resnet()
    torch.manual_seed(99)
    for parameter in model.parameters():
        nn.init.normal_(parameter)
    return model


@pytest.mark.parametrize("first", ["model", "optimizer"])
@pytest.mark.parametrize("grads", ["hook", "foreach"])
@pytest.mark.parametrize("density", [0.7, 0.0])
def test_a_resumed_run_equals_the_uninterrupted_reference_bitwise(
    tmp_path: Path,
    density: Densities,
    grads: Literal["hook", "foreach"],
    first: Literal["model", "optimizer"],
) -> None:
    reference = reference_run(small_resnet(), density, adamw)
    interrupted = engine_run(small_resnet(), density, adamw, grads)
    for step in range(5):
        interrupted.step(step)
    save(interrupted, tmp_path / "checkpoint.pt")

    resumed = engine_run(other_model(), density, adamw, grads)
    checkpoint = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    parts: dict[str, Any] = {"model": resumed.model, "optimizer": resumed.optimizer}
    for part in (first, *(parts.keys() - {first})):
        parts[part].load_state_dict(checkpoint[part])
    for step in range(5, 10):
        resumed.step(step)
    for step in range(10):
        reference.step(step)

    assert largest_difference(resumed, reference) == 0.0


def test_a_checkpoint_taken_before_the_first_step_can_be_resumed(tmp_path: Path) -> None:
    reference = reference_run(small_resnet(), 0.7, sgd)
    save(engine_run(small_resnet(), 0.7, sgd), tmp_path / "checkpoint.pt")

    resumed = engine_run(other_model(), 0.7, sgd)
    checkpoint = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    resumed.model.load_state_dict(checkpoint["model"])
    resumed.optimizer.load_state_dict(checkpoint["optimizer"])
    for run in (resumed, reference):
        run.step(0)

    assert largest_difference(resumed, reference) == 0.0


def test_the_state_holds_the_raw_weights_and_the_density() -> None:
    run = engine_run(small_resnet(), 0.0, sgd)

    state = run.optimizer.state_dict()["density_engine"]

    assert state["density"] == {3: [0.0]}
    assert state["weights"].keys() == {"0", "2.conv", "3", "6.conv", "8"}
    assert state["weights"]["0"].count_nonzero() == 4 * 3 * 9
    assert run.model.get_parameter("0.weight").count_nonzero() == 4 * 3


def test_loading_the_model_alone_is_noticed_at_the_next_step() -> None:
    trained, fresh = (engine_run(model, 0.7, sgd) for model in (small_resnet(), other_model()))

    fresh.model.load_state_dict(trained.model.state_dict())

    with pytest.raises(EngineError, match=r"Resume with optimizer\.load_state_dict\(\)"):
        fresh.step(0)


def test_a_state_without_raw_weights_is_refused() -> None:
    model = small_resnet()
    run = engine_run(model, 0.7, sgd)

    with pytest.raises(EngineError, match="it was saved without a DensityEngine"):
        run.optimizer.load_state_dict(sgd(model).state_dict())


def test_a_state_of_another_density_or_other_sites_is_refused() -> None:
    run = engine_run(small_resnet(), 0.7, sgd)
    state = deepcopy(run.optimizer.state_dict())
    state["density_engine"]["weights"].pop("0")

    with pytest.raises(EngineError, match=r"density \{3: \(0\.7,\)\}, but the engine has"):
        engine_run(small_resnet(), 0.8, sgd).optimizer.load_state_dict(run.optimizer.state_dict())
    with pytest.raises(EngineError, match=r"saved for the sites .* before any wrapper"):
        run.optimizer.load_state_dict(state)


def test_a_refused_state_leaves_the_run_as_it_was() -> None:
    run, reference = (kind(small_resnet(), 0.7, sgd) for kind in (engine_run, reference_run))

    with pytest.raises(EngineError, match="holds no raw weights"):
        run.optimizer.load_state_dict({})
    run.step(0)
    reference.step(0)

    assert largest_difference(run, reference) == 0.0
