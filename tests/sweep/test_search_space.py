"""Densities are proposed by Optuna's samplers, the same ones for the same study."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from optuna.storages import BaseStorage, get_storage

from tests.sweep.tiny import TINY
from wconv_sweep import studies
from wconv_sweep.run_folder import RunFolder
from wconv_sweep.search_space import distributions_of, propose
from wconv_sweep.slots import Claim, SlotTable
from wconv_sweep.storage import Storage, choose_url, create_storage
from wconv_sweep.study_config import StudyConfig


@pytest.fixture
def optuna_storage(storage: Storage) -> Iterator[BaseStorage]:
    client = studies.optuna_client(storage)
    yield get_storage(client)
    client.remove_session()
    client.engine.dispose()


def study_of(sampler: str, name: str) -> StudyConfig:
    return StudyConfig.model_validate(
        TINY
        | {
            "study": name,
            "kernel_size": 5,
            "search": {
                "bounds": [[0.05, 1.0], [0.5, 1.5]],
                "sampler": {"name": sampler, "startup_trials": 3},
            },
            "budget": {"trials": 8},
        }
    )


def search(
    storage: Storage, optuna_storage: BaseStorage, config: StudyConfig
) -> list[tuple[float, ...]]:
    """Run the study with a response whose best density is (0.3, 0.9)."""
    studies.create_or_extend(storage, config, RunFolder.of(storage.folder, "tiny"), "local")
    slots = SlotTable(storage, config, lease_s=60)
    proposed = []
    while isinstance(claim := slots.claim("node/pilot-0/1"), Claim):
        density = claim.density
        if density is None:
            density = propose(config, optuna_storage, claim.trial_id, claim.position)
            slots.set_density(claim, density, distributions_of(config))
            proposed.append(density)
        value = -((density[0] - 0.3) ** 2) - (density[1] - 0.9) ** 2
        slots.report(claim, 1, value, {})
        slots.complete(claim, {}, {})
    return proposed


def test_the_first_parameter_is_the_outermost_coefficient() -> None:
    config = study_of("random", "first")

    distributions = distributions_of(config)

    assert list(distributions) == ["density_1", "density_2"]
    assert (distributions["density_1"].low, distributions["density_1"].high) == (0.05, 1.0)
    assert (distributions["density_2"].low, distributions["density_2"].high) == (0.5, 1.5)


@pytest.mark.parametrize("sampler", ["tpe", "gp", "random"])
def test_every_sampler_proposes_within_the_bounds_and_the_same_each_time(
    storage: Storage, optuna_storage: BaseStorage, sampler: str
) -> None:
    first = search(storage, optuna_storage, study_of(sampler, "one"))

    again = search(storage, optuna_storage, study_of(sampler, "two"))

    assert len(first) == 7
    assert len(set(first)) == 7
    assert all(0.05 <= outer <= 1.0 and 0.5 <= inner <= 1.5 for outer, inner in first)
    assert again == first


def test_other_studies_of_the_storage_change_no_proposal(
    storage: Storage, optuna_storage: BaseStorage, tmp_path: Path
) -> None:
    config = study_of("random", "alone")
    other = create_storage(choose_url(None, tmp_path / "other", {}))
    client = studies.optuna_client(other)
    search(storage, optuna_storage, study_of("tpe", "before"))

    beside = search(storage, optuna_storage, config)
    alone = search(other, get_storage(client), config)

    client.remove_session()
    client.engine.dispose()
    other.close()
    assert beside == alone


def test_a_sampler_with_a_model_learns_from_the_trials(
    storage: Storage, optuna_storage: BaseStorage
) -> None:
    config = study_of("gp", "learns").model_copy(
        update={"budget": StudyConfig.model_validate(TINY | {"budget": {"trials": 14}}).budget}
    )

    proposed = search(storage, optuna_storage, config)

    def distance(density: tuple[float, ...]) -> float:
        return abs(density[0] - 0.3) + abs(density[1] - 0.9)

    assert min(map(distance, proposed[-4:])) < 0.1
    assert min(map(distance, proposed[-4:])) < min(map(distance, proposed[:2]))
