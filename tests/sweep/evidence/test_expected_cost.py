"""What a study will cost is told before it is launched, by trials that were measured."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.sweep.evidence.test_accounting import Launch, complete, lasts, launch
from tests.sweep.slots.test_table import leased
from tests.sweep.tiny import TINY, StudyFile, run
from wconv_sweep.cli.views.cost import expected_text
from wconv_sweep.cli.views.study import cost_text
from wconv_sweep.clusters.billing import Cost
from wconv_sweep.clusters.pilot_request import PilotRequest
from wconv_sweep.clusters.profile import load_profile
from wconv_sweep.evidence.expected_cost import (
    ExpectedCost,
    StageCost,
    expected_cost,
    read_expected_cost,
)
from wconv_sweep.evidence.trial_cost import MeasuredTrial, costs_the_same
from wconv_sweep.launching.submission import launcher_of
from wconv_sweep.slots import definitions
from wconv_sweep.storage.open_storage import Storage
from wconv_sweep.storage.tables import SlotState, Stage
from wconv_sweep.study.config import StudyConfig, TrialShape
from wconv_sweep.study.cost_range import CostRange, PointCosts

__all__ = ["launch"]  # a fixture

A100, H100 = "NVIDIA A100-SXM-64GB", "NVIDIA H100"


def config(**sections: Any) -> StudyConfig:
    return StudyConfig.model_validate(TINY | sections)


def recipe(**keys: Any) -> dict[str, Any]:
    return {"recipe": TINY["recipe"] | keys}


def trial(
    hours: float,
    stage: Stage = Stage.SEARCH,
    *,
    device: str | None = A100,
    state: SlotState = SlotState.COMPLETE,
    on_gpus: bool = True,
) -> MeasuredTrial:
    return MeasuredTrial(
        study="tiny", stage=stage, hours=hours, on_gpus=on_gpus, device=device, state=state
    )


@pytest.mark.parametrize(
    ("changes", "same"),
    [
        ({"study": "other", "description": "longer", "seed": 7}, True),
        ({"budget": {"trials": 99, "gpu_hours": 10.0}}, True),
        ({"confirm": {"candidates": 1, "seeds": 2}, "budget": {"trials": 9}}, True),
        ({"search": {"bounds": [[0.1, 2.0]], "sampler": {"name": "tpe"}}}, True),
        ({"reference_densities": {"paper": [0.9]}}, True),
        (recipe(optimizer={"name": "adam", "lr": 0.1}, lr_schedule="constant"), True),
        (recipe(optimizer={"name": "sgd", "lr": 0.003}), False),
        (recipe(epochs=3), False),
        (recipe(batch_size=4), False),
        (recipe(dtype="float32"), False),
        # A learning rate changes when training stops early.
        (
            recipe(optimizer={"name": "adam", "lr": 0.1}, early_stopping={"patience": 1}),
            False,
        ),
        ({"trial": {"ranks": 2}}, False),
        ({"model": {"name": "dncnn", "options": {"depth": 4}}}, False),
        ({"data": {"name": "photographs", "options": {"crop_px": 32}}}, False),
    ],
)
def test_trials_cost_the_same_if_network_data_and_steps_are_the_same(
    changes: dict[str, Any], same: bool
) -> None:
    assert costs_the_same(config().plain(), config(**changes)) is same


def test_where_the_data_lie_counts_only_if_that_is_known() -> None:
    def of(folder: str) -> StudyConfig:
        data = {"name": "div2k", "options": {"folder": folder, "cache_folder": folder}}
        return config(data=data)

    assert costs_the_same(of("/here").plain(), of("$WCONV_SWEEP_DATA"))
    assert costs_the_same(of("/here").plain(), of("/here"))
    assert not costs_the_same(of("/here").plain(), of("/small"))


def test_a_study_costs_what_its_like_have_cost_times_what_is_left(
    launch: Launch, storage: Storage
) -> None:
    slots = launch(gpus=2)
    for hours in (1.0, 1.5, 2.0):
        complete(slots, storage, hours)
    running = leased(slots)
    for epoch in (1, 2, 3, 4):
        slots.report(running, epoch, 28.0, {})
    ten = {"recipe": TINY["recipe"] | {"epochs": 10}}
    confirm = {"confirm": {"candidates": 1, "seeds": 2}, "budget": {"trials": 20}}

    here = read_expected_cost(config(**ten, budget={"trials": 9}), storage.url)
    new = read_expected_cost(config(**ten, **confirm, study="new"), storage.url, ablation_trials=4)
    other = read_expected_cost(config(), storage.url)
    on_cpus = read_expected_cost(config(**ten), storage.url, on_gpus=False)

    # Two of six have not begun, one has 6 of 10 epochs left, and the budget grows by three.
    assert here is not None
    (search,) = here.stages
    assert search.stage is Stage.SEARCH
    assert search.left == pytest.approx(5.6)
    spread = (search.lowest_h, search.trial_h, search.highest_h)
    assert spread == pytest.approx((2.0, 3.0, 4.0), abs=0.01)
    assert here.hours == pytest.approx(5.6 * 3.0, abs=0.05)
    assert (here.unit, here.measured, here.studies) == ("GPU-hours", 3, ("tiny",))
    assert new is not None
    assert {each.stage: each.left for each in new.stages} == {
        Stage.REFERENCE: 1,
        Stage.SEARCH: 15,
        Stage.CONFIRM: 4,
        Stage.ABLATION: 4,
    }
    assert (other, on_cpus) == (None, None)


def test_before_a_trial_has_ended_the_canarys_epochs_tell_the_cost(
    launch: Launch, storage: Storage
) -> None:
    canary = leased(slots := launch())
    nothing = read_expected_cost(definitions.load_config(storage, "tiny"), storage.url)
    for epoch in (1, 2):
        slots.report(canary, epoch, 28.0, {})
    lasts(storage, canary, 0.3)

    found = read_expected_cost(definitions.load_config(storage, "tiny"), storage.url)

    assert nothing is None
    assert found is not None
    assert found.device is None
    # 0.15 an epoch: five whole trials of ten, and eight epochs.
    assert found.hours == pytest.approx(5 * 1.5 + 8 * 0.15, abs=0.05)


def test_of_several_kinds_of_gpus_the_commonest_counts() -> None:
    trials = [trial(1.0), trial(1.2), trial(1.1), trial(0.5, device=H100)]

    found = expected_cost(trials, {Stage.SEARCH: 10.0})

    assert found == ExpectedCost(
        unit="GPU-hours",
        stages=(
            StageCost(stage=Stage.SEARCH, left=10.0, trial_h=1.1, lowest_h=1.0, highest_h=1.2),
        ),
        measured=3,
        studies=("tiny",),
        device=A100,
        others=1,
        searched=3,
    )


def test_pruned_trials_make_the_search_cheaper_and_nothing_else() -> None:
    trials = [trial(hours, Stage.SEARCH) for hours in (1.0, 1.2)]
    trials += [trial(0.2, device=None, state=SlotState.PRUNED)] * 2

    found = expected_cost(trials, {Stage.SEARCH: 2.0, Stage.CONFIRM: 3.0})

    assert found is not None
    hours = {each.stage: each.trial_h for each in found.stages}
    assert hours == pytest.approx({Stage.SEARCH: 0.65, Stage.CONFIRM: 1.1})


def test_trials_that_share_a_gpu_take_longer_than_their_gpu_hours() -> None:
    found = expected_cost([trial(0.25)] * 3, {Stage.SEARCH: 8.0})

    assert found is not None
    assert found.hours == pytest.approx(2.0)
    assert found.one_by_one_h(TrialShape(per_gpu=4)) == pytest.approx(8.0)
    assert "2.00 GPU-hours of trials, a GPU for 4 of them" in expected_text(
        found, TrialShape(per_gpu=4)
    )


def test_a_search_that_changes_the_costs_is_costed_at_its_cheapest_and_its_dearest() -> None:
    left = {Stage.REFERENCE: 1.0, Stage.SEARCH: 10.0}
    costs = CostRange(
        PointCosts(0.5, 2**20, 100, 10**6),
        (("model.options.width", 2),),
        PointCosts(3.0, 2**22, 900, 10**7),
        (("model.options.width", 6),),
    )
    before = expected_cost([trial(2.0, Stage.REFERENCE)], left)
    seen = expected_cost([trial(hours) for hours in (1.0, 2.0, 5.0)], left)

    assert before is not None
    assert seen is not None
    # A reference density at the study's own width, ten proposals at the narrowest or the widest.
    assert before.between_h(0.5, 3.0) == (2.0 + 10.0, 2.0 + 60.0)
    assert seen.between_h(0.5, 3.0) == (11.0, 55.0)
    assert "12.00 to 62.00 at the cheapest and the dearest values, if time goes with" in (
        expected_text(before, TrialShape(), costs=costs)
    )
    assert "; 11.00 to 55.00 if all were like the cheapest or the dearest of these; " in (
        expected_text(seen, TrialShape(), costs=costs)
    )


def test_the_bill_is_the_sites_for_all_that_pilots_hold() -> None:
    lumi = launcher_of(load_profile("lumi"), PilotRequest())

    pairs = lumi.bill(12.0, TrialShape(ranks=4))
    threes = lumi.bill(12.0, TrialShape(ranks=3))
    too_large = lumi.bill(12.0, TrialShape(ranks=16))
    alone, shared = lumi.bill(8.0, TrialShape()), lumi.bill(8.0, TrialShape(per_gpu=4))

    # Two trials of four dies on a node of eight, and two of three, too: six nodes for an hour,
    # which LUMI bills as four GPU-hours, and SLURM shows as eight GPUs.
    assert pairs == threes
    assert isinstance(pairs, Cost)
    assert (pairs.billed, pairs.unit, pairs.device_hours) == (24.0, "GPU-hours", 48.0)
    assert too_large is None
    # Eight hours of trials one by one: one on each of eight dies, or four.
    assert isinstance(alone, Cost)
    assert isinstance(shared, Cost)
    assert (alone.billed, shared.billed) == (4.0, 1.0)
    assert launcher_of(load_profile("local"), PilotRequest()).bill(12.0, TrialShape()) is None


def test_the_dry_run_tells_it_or_how_to_measure_it(
    launch: Launch,
    storage: Storage,
    tmp_path: Path,
    study_file: StudyFile,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = study_file(recipe=TINY["recipe"] | {"epochs": 10}, budget={"trials": 6})
    where = ("--storage", storage.name, "--runs", str(tmp_path / "runs"))
    dry_run = ("launch", "--cluster", "local", "--study", str(path), "--dry-run", *where)
    _, unknown, _ = run(monkeypatch, capsys, *dry_run)
    complete(launch(gpus=0), storage, 3.0)

    status, shown, errors = run(monkeypatch, capsys, *dry_run)
    _, planned, _ = run(monkeypatch, capsys, *dry_run, "--json")

    assert f"`wconv-sweep launch --cluster local --study {path}` measures it" in unknown
    assert (status, errors) == (0, "")
    # One trial of one thread on a CPU: five more of three hours.
    assert "about 15.00 core-hours of trials, a core for each thread: 5 search x 3" in shown
    assert "measured on 1 trial(s) of tiny" in shown
    expected = json.loads(planned)["expected_cost"]
    assert (expected["unit"], expected["bill"]) == ("core-hours", None)
    assert expected["hours"] == pytest.approx(15.0, abs=0.1)


def test_what_is_not_known_is_said_with_its_reason_or_with_the_command_that_measures_it() -> None:
    away = cost_text(
        ["--study", "a.yaml"], TrialShape(), None, "postgresql://x: cannot be reached."
    )
    unknown = cost_text(["--study", "a.yaml", "--set", "epochs=3"], TrialShape(), None, None)

    assert away == "not known: postgresql://x: cannot be reached."
    command = "wconv-sweep launch --cluster CLUSTER --study a.yaml --set epochs=3"
    assert f"`{command} --max-gpu-hours 1` measures it" in unknown
