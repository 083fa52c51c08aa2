"""The order of a trial: exact through JSON, and strict."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from tests.jobs.trials import classification, denoising
from wconv_jobs.recipe.optimizer import AdamSpec, SgdSpec
from wconv_jobs.spec import RecipeSpec, TrialSpec


@pytest.mark.parametrize("density", [(0.1 + 0.2, 1 / 3), (5e-324, -1.7976931348623157e308), (1,)])
def test_a_trial_comes_back_exactly_from_json(density: tuple[float, ...]) -> None:
    spec = denoising(Path("run/trial 7"), density=density, deadline_s=1754000000.123456)

    again = TrialSpec.model_validate_json(spec.model_dump_json())

    assert again == spec
    assert again.density == density
    assert again.deadline_s == 1754000000.123456


def test_options_keep_their_types_through_json() -> None:
    options = {"a": True, "b": 1, "c": 1.0, "d": "1", "e": [1, 0.5, "x", False]}
    content = classification(Path("run")).model_dump(mode="json")
    content["data"]["options"] = options
    spec = TrialSpec.model_validate(content)

    again = TrialSpec.model_validate_json(spec.model_dump_json())

    kinds = {name: type(value) for name, value in again.data.options.items()}
    assert again.data.options == options
    assert kinds == {"a": bool, "b": int, "c": float, "d": str, "e": list}


def _changed(path: str, value: object) -> dict[str, Any]:
    content = denoising(Path("run")).model_dump(mode="json")
    *parents, last = path.split(".")
    place = content
    for parent in parents:
        place = place[parent]
    place[last] = value
    return content


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("study", "dncnn"),
        ("recipe.epoch", 3),
        ("recipe.optimizer.momentum", 0.9),
        ("recipe.epochs", "3"),
        ("recipe.epochs", 3.0),
        ("recipe.epochs", 0),
        ("recipe.epochs", True),
        ("recipe.batch_size", 0),
        ("recipe.dtype", "float16"),
        ("recipe.clip_grad_norm", 0.0),
        ("recipe.label_smoothing", 1.0),
        ("recipe.amp", "bfloat16"),
        ("recipe.optimizer.name", "lbfgs"),
        ("recipe.optimizer.lr", float("nan")),
        ("recipe.optimizer.lr", "0.1"),
        ("recipe.optimizer.betas", [0.9, 1.0]),
        ("density", []),
        ("density", ["0.5"]),
        ("density", [float("inf")]),
        ("density", 0.5),
        ("study_seed", -1),
        ("replicate", -1),
        ("threads_per_rank", 0),
        ("checkpoint_folder", 3),
        ("deadline_s", float("inf")),
        ("model.name", 5),
        ("model.options.depth", {"a": 1}),
        ("model.options.depth", None),
    ],
)
def test_unknown_keys_and_wrong_values_are_refused(path: str, value: object) -> None:
    content = _changed(path, value)

    with pytest.raises(ValidationError) as refused:
        TrialSpec.model_validate(content)

    assert path.split(".")[-1] in str(refused.value)


def test_nesterov_without_momentum_is_refused() -> None:
    with pytest.raises(ValidationError, match="nesterov needs a momentum above 0"):
        SgdSpec(name="sgd", lr=0.1, nesterov=True)


def test_amp_without_float32_is_refused() -> None:
    optimizer = AdamSpec(name="adam", lr=0.1)

    with pytest.raises(ValidationError, match="amp: bfloat16 needs dtype: float32"):
        RecipeSpec(optimizer=optimizer, epochs=1, batch_size=1, amp="bfloat16", dtype="float64")


def test_a_trial_cannot_be_changed() -> None:
    spec = denoising(Path("run"))

    with pytest.raises(ValidationError, match="frozen"):
        spec.replicate = 1  # type: ignore[misc]


def test_two_coefficients_are_for_kernels_of_five() -> None:
    assert denoising(Path("run"), density=(0.5, 0.8)).kernel_size == 5
