"""Every shape that a node can run is measured, and the others are left out with the reason."""

from collections.abc import Sequence
from typing import Any

import pytest

from tests.sweep.tiny import TINY
from wconv_sweep.calibration.shapes import Machine, shapes
from wconv_sweep.evidence.calibration_record import LeftOut, Shape, shape_of
from wconv_sweep.study.config import StudyConfig


def config(**recipe: Any) -> StudyConfig:
    return StudyConfig.model_validate(TINY | {"recipe": TINY["recipe"] | recipe})


def machine(*, gpus: int = 0, cores: int = 8, memory_mb: int = 1 << 20) -> Machine:
    return Machine(gpus=gpus, cores=cores, memory_mb=memory_mb)


def every(
    config: StudyConfig, machine: Machine, ranks: Sequence[int] = (), *, compiled: bool = False
) -> tuple[list[Shape], list[LeftOut]]:
    choice = shapes(config, machine, ranks, compiled=compiled, every=True)
    assert choice.untried == 0
    return choice.wanted, choice.left_out


def facts(found: Sequence[Shape]) -> set[tuple[Any, ...]]:
    return {
        (each.ranks, each.lanes, each.per_gpu, each.memory_format, each.amp, each.optimizer)
        for each in found
    }


def test_without_a_wish_one_thing_is_changed_at_a_time() -> None:
    own = config(dtype="float32", memory_format="channels_last")

    on_gpus = shapes(own, machine(gpus=4))
    on_cores = shapes(own, machine(cores=2))

    assert facts(on_gpus.wanted) == {
        *[(1, 4, 1, "channels_last", "none", None), (1, 4, 1, "channels_last", "none", "fused")],
        *[(1, 4, 1, "contiguous", "none", None), (1, 4, 1, "contiguous", "bfloat16", None)],
        (1, 4, 1, "channels_last", "bfloat16", None),
        *[(1, 8, 2, "channels_last", "none", None), (1, 16, 4, "channels_last", "none", None)],
        *[(2, 2, 1, "channels_last", "none", None), (4, 1, 1, "channels_last", "none", None)],
    }
    assert on_gpus.untried == 24 - 9
    assert facts(on_cores.wanted) == {
        *[(1, 2, 1, "channels_last", "none", None), (1, 2, 1, "channels_last", "bfloat16", None)],
        *[(1, 2, 1, "contiguous", "none", None), (1, 2, 1, "contiguous", "bfloat16", None)],
        *[(1, 1, 1, "channels_last", "none", None), (2, 1, 1, "channels_last", "none", None)],
    }
    assert on_cores.untried == 12 - 6


def test_a_study_of_more_ranks_than_the_node_has_is_measured_with_the_fewest() -> None:
    own = StudyConfig.model_validate(TINY | {"trial": {"ranks": 8}})

    choice = shapes(own, machine(cores=2))

    assert {(each.ranks, each.lanes) for each in choice.wanted} == {(1, 2), (1, 1), (2, 1)}
    assert len(choice.wanted) == 2 + 2


def test_on_cores_a_trial_is_measured_alone_and_with_all_that_there_are_cores_for() -> None:
    found, left_out = every(config(dtype="float32"), machine(cores=5))

    assert left_out == []
    assert sorted({(shape.ranks, shape.lanes) for shape in found}) == [
        *[(1, 1), (1, 5)],
        *[(2, 1), (2, 2)],
        (4, 1),
    ]
    assert {(shape.memory_format, shape.amp) for shape in found} == {
        *[("contiguous", "none"), ("contiguous", "bfloat16")],
        *[("channels_last", "none"), ("channels_last", "bfloat16")],
    }
    assert len(found) == len(set(found)) == 5 * 4


def test_memory_bounds_the_trials_at_once() -> None:
    found, _ = every(config(), machine(cores=8, memory_mb=3000), [1])

    assert {shape.lanes for shape in found} == {1, 2}


def test_each_rank_has_a_gpu_of_its_own_and_all_gpus_are_used() -> None:
    found, left_out = every(config(dtype="float32"), machine(gpus=4, cores=1), [1, 2, 4, 8])

    assert {(shape.ranks, shape.lanes, shape.per_gpu) for shape in found} == {
        *[(1, 4, 1), (1, 8, 2), (1, 16, 4)],
        *[(2, 2, 1), (4, 1, 1)],
    }
    # The fused optimizer with the ranks of the study alone.
    fused = {(shape.ranks, shape.per_gpu) for shape in found if shape.optimizer == "fused"}
    assert fused == {(1, 1)}
    assert len(found) == len(set(found)) == 4 * 6
    assert left_out == [LeftOut(ranks=8, reason="takes 8 GPUs of 4")]


@pytest.mark.parametrize(
    ("ranks", "cores", "reason"),
    [
        (8, 4, "takes 8 cores of 4"),
        (3, 4, "recipe.batch_size 8 cannot be shared evenly"),
    ],
)
def test_what_cores_or_the_batch_do_not_allow_is_left_out(
    ranks: int, cores: int, reason: str
) -> None:
    assert every(config(), machine(cores=cores), [ranks]) == (
        [],
        [LeftOut(ranks=ranks, reason=reason)],
    )


def test_float64_is_measured_without_autocast() -> None:
    found, (left_out,) = every(config(), machine(cores=1), [1])

    assert {shape.amp for shape in found} == {"none"}
    assert (left_out.amp, left_out.reason) == ("bfloat16", "autocast needs recipe.dtype: float32")


def test_compiled_steps_are_tried_with_the_ranks_of_the_study_if_the_user_wants_it() -> None:
    on_cores, _ = every(config(dtype="float32"), machine(cores=4), compiled=True)
    on_gpus, _ = every(config(dtype="float32"), machine(gpus=2), compiled=True)

    assert {(each.ranks, each.lanes, each.optimizer) for each in on_cores if each.compile} == {
        (1, 4, None)
    }
    alone = [each for each in on_gpus if (each.ranks, each.per_gpu) == (1, 1)]
    assert {(each.compile, each.optimizer) for each in alone} == {
        *[(False, None), (True, None), ("reduce-overhead", None)],
        *[(False, "fused"), (True, "fused"), ("reduce-overhead", "fused")],
    }
    assert {each.amp for each in on_gpus if each.compile} == {"none", "bfloat16"}


def test_the_steps_of_the_study_are_measured_in_every_shape() -> None:
    own = config(
        dtype="float32",
        compile=True,
        optimizer={"name": "sgd", "lr": 0.1, "implementation": "foreach"},
    )

    found, _ = every(own, machine(cores=2), [1, 2])

    assert {(each.compile, each.optimizer) for each in found} == {(True, "foreach")}
    assert {(each.ranks, each.lanes) for each in found} == {(1, 1), (1, 2), (2, 1)}


def test_the_trials_per_gpu_of_the_study_are_those_that_pilots_train() -> None:
    sharing = StudyConfig.model_validate(TINY | {"trial": {"per_gpu": 3}})

    on_gpus, _ = every(sharing, machine(gpus=2), [1, 2])
    on_cores, _ = every(sharing, machine(cores=2), [1, 2])

    assert shape_of(sharing, lanes=6) in [
        each.model_copy(update={"memory_format": "contiguous"}) for each in on_gpus
    ]
    assert {each.per_gpu for each in on_gpus if each.optimizer == "fused"} == {3}
    # What a GPU has no part in is measured for the study as it is.
    assert shape_of(sharing, lanes=2) in on_cores
