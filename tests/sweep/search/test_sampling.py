"""Densities are proposed by Optuna's samplers, the same ones for the same study."""

import itertools
import multiprocessing
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from optuna.samplers import GPSampler, TPESampler
from scipy.stats import qmc
from sqlalchemy import make_url, update

from tests.sweep.nursery import called
from tests.sweep.searching import Searcher, launched, study_of
from wconv_jobs.messages import Broken
from wconv_jobs.seeding import derive_seed
from wconv_sweep.evidence.proposals import Proposals
from wconv_sweep.evidence.study_status import read_status
from wconv_sweep.search import sampling
from wconv_sweep.search.sampling import propose
from wconv_sweep.slots.breaker import DIVERGED
from wconv_sweep.slots.table import Lease
from wconv_sweep.storage.open_storage import Storage, create_storage, open_storage
from wconv_sweep.storage.optuna_client import optuna_client
from wconv_sweep.storage.tables import MOVED, SLOTS, SlotState, Stage
from wconv_sweep.study.config import StudyConfig
from wconv_sweep.study.files import load_study
from wconv_sweep.study.point import Point

MODELS: list[dict[str, Any]] = [
    {"name": "tpe", "startup_trials": 3},
    {"name": "tpe", "startup_trials": 3, "multivariate": False, "constant_liar": False},
    {"name": "gp", "startup_trials": 3},
    {"name": "cmaes"},
    {"name": "random"},
    {"name": "qmc"},
    {"name": "qmc", "scramble": False},
    {"name": "direct-l"},
    {"name": "optuna", "path": "optuna.samplers.NSGAIISampler", "options": {"population_size": 4}},
]


def sobol(config: StudyConfig, number: int) -> list[tuple[float, ...]]:
    """Return the first points of the study's sequence."""
    seed = derive_seed(config.seed, "qmc") % 2**32
    sequence = qmc.Sobol(len(config.search.bounds), scramble=True, seed=seed)
    bounds = config.search.bounds
    points = [sequence.random(1)[0].tolist() for _ in range(number)]
    return [
        tuple(low + (high - low) * share for (low, high), share in zip(bounds, point, strict=True))
        for point in points
    ]


@pytest.mark.parametrize("sampler", MODELS, ids=str)
@pytest.mark.slow
def test_every_sampler_proposes_within_the_bounds_and_the_same_each_time(
    sqlite_storage: Storage, sampler: dict[str, Any]
) -> None:
    first = launched(sqlite_storage, study_of(sampler, name="one")).work()

    again = launched(sqlite_storage, study_of(sampler, name="two")).work()

    assert len(first) == 7
    assert len(set(first)) == 7
    assert all(0.05 <= outer <= 1.0 and 0.5 <= inner <= 1.5 for outer, inner in first)
    assert again == first


@pytest.mark.parametrize("sampler", [MODELS[each] for each in (0, 2, 3, 7, 8)], ids=str)
@pytest.mark.slow
def test_a_new_agent_proposes_what_the_one_before_would_have(
    storage: Storage, sampler: dict[str, Any]
) -> None:
    trials = 7 if sampler["name"] == "gp" else 20
    undisturbed = launched(storage, study_of(sampler, name="one", trials=trials)).work()

    changing = []
    # A new agent for each trial, which knows what the storage holds and nothing else.
    agent = launched(storage, study_of(sampler, name="two", trials=trials))
    for lease in agent.leases():
        density = Searcher(storage, agent.config).train(lease)
        changing += [density] if lease.point is None else []

    assert changing == undisturbed


@pytest.mark.slow
def test_a_sampler_with_a_model_learns_from_the_trials(sqlite_storage: Storage) -> None:
    proposed = launched(
        sqlite_storage, study_of({"name": "gp", "startup_trials": 3}, trials=12)
    ).work()

    def distance(density: tuple[float, ...]) -> float:
        return abs(density[0] - 0.3) + abs(density[1] - 0.9)

    assert min(map(distance, proposed[-4:])) < 0.1
    assert min(map(distance, proposed[-4:])) < min(map(distance, proposed[:2]))


@pytest.mark.slow
def test_cmaes_moves_on_from_the_generations_of_all_agents(storage: Storage) -> None:
    config = study_of({"name": "cmaes"}, trials=81, epochs=1)
    launched(storage, config)

    agents = [Searcher(storage, config, owner=f"node/pilot-{number}/1") for number in range(4)]
    proposed = [agents[number % 4].train(agents[number % 4].lease()) for number in range(81)]

    def mean_distance(densities: list[tuple[float, ...]]) -> float:
        return sum(abs(a - 0.3) + abs(b - 0.9) for a, b in densities) / len(densities)

    assert mean_distance(proposed[-10:]) < 0.5 * mean_distance(proposed[1:11])


DEFAULTS: list[dict[str, Any]] = [
    {"name": name} for name in ("tpe", "gp", "cmaes", "direct-l", "random", "qmc")
]


@pytest.mark.slow
@pytest.mark.parametrize("coefficients", [1, 2, 3])
@pytest.mark.parametrize("sampler", DEFAULTS, ids=lambda sampler: sampler["name"])
def test_with_its_defaults_a_sampler_serves_many_workers_at_once(
    sqlite_storage: Storage, sampler: dict[str, Any], coefficients: int
) -> None:
    if sampler["name"] == "cmaes" and coefficients == 1:
        pytest.skip("takes two coefficients or more")
    config = study_of(sampler, trials=49, epochs=1, bounds=[[0.5, 1.5]] * coefficients)
    agent = launched(sqlite_storage, config)
    agent.train(agent.lease(), bowl)

    proposed = []
    for _ in range(3):  # rounds of 16 workers that begin, and end, together
        leases = [agent.lease() for _ in range(16)]
        densities = [agent.density_of(lease) for lease in leases]
        for lease in leases:
            agent.train(lease, bowl)
        proposed += densities

    assert len(set(proposed)) == 48
    assert all(0.5 <= value <= 1.5 for density in proposed for value in density)
    best = max(bowl(density, 1) for density in proposed)
    assert best > -0.02 * coefficients  # 0.14 off in each coefficient, of 1


def bowl(density: tuple[float, ...], epoch: int) -> float:
    """Return a response whose best density is 0.8 in every coefficient."""
    return -sum((value - 0.8) ** 2 for value in density) / epoch


def test_agents_that_ask_at_the_same_time_get_a_rectangle_each(sqlite_storage: Storage) -> None:
    config = study_of({"name": "direct-l"}, trials=12)
    launched(sqlite_storage, config)
    agents = [Searcher(sqlite_storage, config) for _ in range(3)]
    agents[0].train(agents[0].lease())
    leases = [agent.lease() for agent in agents]

    # None of them knows what the others are told.
    at_once = [
        propose(config, agent.mirror, lease.trial, lease.position).point.density
        for agent, lease in zip(agents, leases, strict=True)
    ]
    one_after_the_other = [
        agent.density_of(lease) for agent, lease in zip(agents, leases, strict=True)
    ]

    assert len(set(at_once)) == 3
    assert one_after_the_other == at_once


def test_a_rectangle_whose_center_is_a_reference_density_takes_its_value(
    sqlite_storage: Storage,
) -> None:
    config = study_of({"name": "direct-l"}, bounds=[[0.5, 1.5]], trials=3)

    proposed = launched(sqlite_storage, config).work(bowl)

    # The center is the plain baseline.
    assert proposed == [(round(0.5 + 5 / 6, 12),), (round(0.5 + 1 / 6, 12),)]


def test_what_diverged_is_the_worst_for_rectangles(sqlite_storage: Storage) -> None:
    config = study_of({"name": "direct-l"}, bounds=[[0.5, 1.5]], trials=5)
    agent = launched(sqlite_storage, config)
    agent.train(agent.lease(), lambda density, _: density[0])
    broken = agent.lease()
    assert agent.density_of(broken) == (round(0.5 + 5 / 6, 12),)
    cause = Broken(
        rank=0, error=DIVERGED, reason="the loss is nan", where="training.py:1", traceback=""
    )
    agent.slots.break_(broken, cause)
    agent.train(agent.lease(), lambda density, _: density[0])

    # The more the better, but the upper third has no value: the middle one is divided.
    assert agent.density_of(agent.lease()) == (round(0.5 + 11 / 18, 12),)


def test_a_slot_that_is_skipped_before_it_had_a_density_is_no_evidence(
    sqlite_storage: Storage,
) -> None:
    agent = launched(sqlite_storage, study_of({"name": "direct-l"}))
    agent.train(agent.lease())
    cut_short = agent.lease()
    agent.slots.interrupt(cut_short, "cut short")
    with sqlite_storage.write() as connection:
        connection.execute(
            update(SLOTS).where(SLOTS.c.slot == cut_short.slot).values(state=SlotState.SKIPPED)
        )

    agent.mirror.refresh()

    assert list(agent.mirror.outcomes()) == [Point((1.0, 1.0))]
    assert agent.mirror.undecided_before(10) == 0


def test_densities_in_training_are_kept_apart(sqlite_storage: Storage) -> None:
    config = study_of({"name": "tpe", "startup_trials": 3}, trials=30)
    agent = launched(sqlite_storage, config)
    for _ in range(20):
        agent.train(agent.lease())

    at_once = [agent.density_of(agent.lease()) for _ in range(9)]

    assert len(set(at_once)) == 9


def test_the_density_of_another_trial_is_not_proposed_again(
    sqlite_storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = launched(sqlite_storage, study_of({"name": "random"}))
    agent.train(agent.lease())
    taken, other = agent.density_of(agent.lease()), agent.lease()
    asked: list[int] = []

    def stubborn(*_: object) -> Point:
        asked.append(1)
        return Point(taken if len(asked) < 3 else (0.1, 0.7))

    monkeypatch.setattr(sampling, "_ask", stubborn)
    density = propose(agent.config, agent.mirror, other.trial, other.position).point.density

    assert density == (0.1, 0.7)
    assert len(asked) == 3


def test_a_sampler_that_repeats_itself_gets_a_density_near_by(
    sqlite_storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = launched(sqlite_storage, study_of({"name": "random"}))
    agent.train(agent.lease())
    taken, other = agent.density_of(agent.lease()), agent.lease()
    asked: list[int] = []

    def stubborn(*_: object) -> Point:
        asked.append(1)
        return Point(taken)

    monkeypatch.setattr(sampling, "_ask", stubborn)
    proposal = propose(agent.config, agent.mirror, other.trial, other.position)

    assert len(asked) == sampling.TRIES
    assert proposal.attributes == {MOVED: list(taken)}
    assert proposal.point.density != taken
    for value, known, (low, high) in zip(
        proposal.point.density, taken, agent.config.search.bounds, strict=True
    ):
        assert low <= value <= high
        assert abs(value - known) <= sampling.NEAR * (high - low)


def test_the_best_trial_outside_of_the_bounds_does_not_draw_a_gaussian_process_to_their_edge(
    sqlite_storage: Storage,
) -> None:
    """The best one within the bounds lies at 0.8; the reference density at 3 is better."""
    config = study_of(
        {"name": "gp", "startup_trials": 6},
        trials=20,
        bounds=[[0.5, 1.5]],
        reference_densities={"far": [3.0]},
    )
    agent = launched(sqlite_storage, config)

    proposed = agent.work(lambda density, _: 1.0 if density[0] > 2 else -((density[0] - 0.8) ** 2))

    modelled = [density for (density,) in proposed[8:]]
    assert sum(value > 1.4 for value in modelled) <= 1
    assert min(abs(value - 0.8) for value in modelled) < 0.02


def test_where_nothing_has_an_effect_a_gaussian_process_gets_no_density_twice(
    sqlite_storage: Storage,
) -> None:
    config = study_of({"name": "gp", "startup_trials": 4}, trials=18, bounds=[[0.5, 1.5]])
    agent = launched(sqlite_storage, config)

    proposed = sorted(density for (density,) in agent.work(lambda *_: 1.0)[4:])

    gaps = [second - first for first, second in itertools.pairwise(proposed)]
    assert min(gaps) > 1e-4
    client = optuna_client(sqlite_storage)
    trials = client.get_all_trials(client.get_study_id_from_name("tiny"))
    client.remove_session()
    client.engine.dispose()
    moved = [trial for trial in trials if MOVED in trial.system_attrs]
    assert 0 < len(moved) < len(trials)
    counted = read_status(sqlite_storage, "tiny").proposals
    assert counted == Proposals(made=17, moved=len(moved))


@pytest.mark.slow
def test_other_studies_of_the_storage_change_no_proposal(sqlite_storage: Storage) -> None:
    alone = launched(sqlite_storage, study_of(MODELS[0], name="alone")).work()

    launched(sqlite_storage, study_of(MODELS[2], name="before")).work()
    beside = launched(sqlite_storage, study_of(MODELS[0], name="beside")).work()

    assert beside == alone


def test_a_reference_density_outside_of_the_bounds_is_stored_as_given(storage: Storage) -> None:
    config = study_of(MODELS[0], reference_densities={"far": [1.7, 0.1]})

    proposed = launched(storage, config).work()

    client = optuna_client(storage)
    trial = client.get_all_trials(client.get_study_id_from_name("tiny"))[1]
    client.remove_session()
    client.engine.dispose()
    assert (trial.params["density_1"], trial.params["density_2"]) == (1.7, 0.1)
    assert len(proposed) == 6


def test_a_gaussian_process_is_not_fitted_to_more_than_it_can_bear(
    sqlite_storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sampling, "GP_TRIALS", 4)
    agent = launched(sqlite_storage, study_of({"name": "gp", "startup_trials": 2}))
    used = []
    for _ in range(8):
        agent.mirror.refresh()
        used.append(type(sampling._sampler(agent.config, agent.mirror, 0)))
        agent.train(agent.lease())

    assert used == [GPSampler] * 5 + [TPESampler] * 3


@pytest.mark.slow
@pytest.mark.parametrize("sampler", ["tpe", "gp", "cmaes", "qmc"])
def test_a_sampler_says_nothing_that_a_user_has_not_asked(sampler: str, tmp_path: Path) -> None:
    # In a process of its own: what warns at its import does so once.
    code = (
        "import sys\n"
        "from sqlalchemy import make_url\n"
        "from tests.sweep.searching import launched, study_of\n"
        "from wconv_sweep.storage.open_storage import create_storage\n"
        "storage = create_storage(make_url(sys.argv[1]))\n"
        "launched(storage, study_of({'name': sys.argv[2]}, trials=13)).work()\n"
    )

    ran = subprocess.run(
        [sys.executable, "-c", code, f"sqlite:///{tmp_path}/sweep.db", sampler],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        check=True,
    )

    assert (ran.stdout, ran.stderr) == ("", "")


def test_the_points_of_a_sequence_belong_to_slots_and_not_to_the_order_of_asking(
    sqlite_storage: Storage,
) -> None:
    config = study_of({"name": "qmc"}, trials=7, reference_densities={"paper": [0.2, 0.9]})
    agent = launched(sqlite_storage, config)
    agent.train(agent.lease())
    agent.train(agent.lease())
    leases = [agent.lease() for _ in range(5)]

    backwards = [agent.density_of(lease) for lease in reversed(leases)]

    assert backwards[::-1] == sobol(config, 5)


def test_the_quickstart_ends_with_the_same_table_on_any_number_of_lanes(tmp_path: Path) -> None:
    config = load_study("quickstart")

    one, two, eight = (_table(config, lanes, tmp_path) for lanes in (1, 2, 8))

    assert len(one) == 15
    assert one == two == eight


def _table(config: StudyConfig, lanes: int, folder: Path) -> list[tuple[Any, ...]]:
    """Return what each trial ends with, where the last of those side by side ends first."""
    storage = create_storage(make_url(f"sqlite:///{folder}/{lanes}_lanes.db"))
    agent = launched(storage, config)
    held: list[Lease] = []
    while True:
        while len(held) < lanes and isinstance(lease := agent.slots.lease("one"), Lease):
            held.append(lease)
        if not held:
            break
        agent.train(held.pop(), lambda density, epoch: epoch - abs(density[0] - 0.9))
    trials = read_status(storage, config.study).trials
    storage.close()
    return [(row.position, row.stage, row.state, row.density, row.value) for row in trials]


@pytest.mark.slow
def test_eight_processes_take_the_first_points_of_the_sequence_once_each(
    storage: Storage, tmp_path: Path
) -> None:
    config = study_of({"name": "qmc"}, trials=41)
    agent = launched(storage, config)
    agent.train(agent.lease())
    url = storage.url.render_as_string(hide_password=False)

    statuses = called(_work_together, url, config.model_dump_json(by_alias=True))

    assert statuses == [0] * 8
    trials = read_status(storage, "tiny").trials
    assert [row.density for row in trials if row.stage == Stage.SEARCH] == sobol(config, 40)


def _work_together(url: str, config: str) -> list[int | None]:
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=_work, args=(url, config, number)) for number in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return [worker.exitcode for worker in workers]


def _work(url: str, config: str, number: int) -> None:
    storage = open_storage(make_url(url))
    definition = StudyConfig.model_validate_json(config)
    agent = Searcher(storage, definition, owner=f"node/pilot-{number}/1")
    for lease in agent.leases():
        # Some attempts are cut short and taken up by another worker.
        if lease.attempt == 1 and lease.position % 5 == 0:
            agent.density_of(lease)
            agent.slots.interrupt(lease, "cut short")
        else:
            agent.train(lease)
    storage.close()
