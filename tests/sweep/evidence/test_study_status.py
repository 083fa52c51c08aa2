"""What status and export say of a study, in numbers that can be checked by hand."""

import json
from collections.abc import Callable
from dataclasses import replace
from io import StringIO

import optuna
import pytest
from rich.console import Console
from sqlalchemy import update

from wconv_sweep.cli.views.pilots import pilots_table
from wconv_sweep.cli.views.status import status_json, status_view
from wconv_sweep.errors import StudyError
from wconv_sweep.evidence.pilot_use import AgentState, PilotUse
from wconv_sweep.evidence.results import TrialRow, best_of
from wconv_sweep.evidence.study_status import read_status
from wconv_sweep.pilots.place import PilotPlace
from wconv_sweep.pilots.registry import PilotRecord
from wconv_sweep.results.export.entries import export, render
from wconv_sweep.run_folder import RunFolder
from wconv_sweep.slots.studies import create_or_extend, stop
from wconv_sweep.slots.table import Lease, SlotTable
from wconv_sweep.storage.open_storage import Storage
from wconv_sweep.storage.optuna_client import close_client, optuna_client
from wconv_sweep.storage.tables import ATTEMPTS, PILOTS, SLOTS, SlotState
from wconv_sweep.study.config import StudyConfig
from wconv_sweep.study.point import Point

Train = Callable[[float], None]


@pytest.fixture
def slots(storage: Storage, tiny_config: StudyConfig) -> SlotTable:
    create_or_extend(storage, tiny_config, RunFolder.of(storage.folder, "tiny"), "local")
    return SlotTable(storage, tiny_config, lease_s=60)


@pytest.fixture
def train(slots: SlotTable, tiny_config: StudyConfig) -> Train:
    """Complete the next slot with a value on the validation set, and 1 less on the test set."""

    def complete(value: float) -> None:
        lease = slots.lease("node/pilot-0/1")
        assert isinstance(lease, Lease)
        if lease.point is None:
            slots.set_point(lease, Point((0.75,)))
        slots.report(lease, 1, value - 0.5, {"psnr_db": value - 0.5})
        slots.report(lease, 2, value, {"psnr_db": value})
        slots.complete(lease, {"test_psnr_db": value - 1}, {"torch": "2"})

    return complete


def text_of(storage: Storage) -> str:
    from rich.console import Console

    console = Console(width=200)
    with console.capture() as captured:
        console.print(status_view(read_status(storage, "tiny")))
    return captured.get()


def row(value: float | None, position: int, label: str | None = None) -> TrialRow:
    return TrialRow(
        position=position,
        stage="search",
        label=label,
        state=SlotState.COMPLETE,
        point=Point((0.5,)),
        trial=position,
        attempt=1,
        epoch=2,
        value=value,
        metrics={},
        provenance={},
        reason=None,
        lease_until=None,
    )


def test_the_difference_is_that_of_the_best_to_the_plain_baseline(
    train: Train, storage: Storage
) -> None:
    for value in (28.0, 29.5, 29.0):
        train(value)

    status = status_json(read_status(storage, "tiny"))

    assert status["state"] == "complete"
    assert (status["best"]["value"], status["plain"]["value"]) == (29.5, 28.0)
    assert status["difference"] == 1.5
    assert "best so far: (0.75) 29.50 dB, plain convolution 28.00 dB, difference +1.50 dB" in (
        text_of(storage)
    )


def test_a_best_that_is_plain_convolution_is_called_so(train: Train, storage: Storage) -> None:
    for value in (29.0, 28.0):
        train(value)

    text = text_of(storage)

    assert "best so far: plain convolution (1) 29.00 dB\n" in text
    assert "difference" not in text


def test_less_is_better_where_the_metric_says_so() -> None:
    rows = [row(0.3, 0), row(0.1, 1), row(0.2, 2)]

    smallest, largest = best_of(rows, "minimize"), best_of(rows, "maximize")

    assert smallest is not None
    assert largest is not None
    assert (smallest.best.position, largest.best.position) == (1, 0)


@pytest.mark.parametrize(("completed", "compared"), [([0, 1], 1), ([0], 0), ([], None)])
def test_the_best_is_compared_with_plain_convolution_of_its_seed_where_there_is_one(
    completed: list[int], compared: int | None
) -> None:
    plains = [replace(row(0.1, seed, "plain"), replicate=seed) for seed in completed]

    result = best_of([*plains, replace(row(0.5, 7), replicate=1)], "maximize")

    assert result is not None
    assert (result.plain and result.plain.replicate) == compared


def test_of_equal_values_the_earlier_trial_is_the_best() -> None:
    for direction in ("minimize", "maximize"):
        result = best_of([row(0.5, 0), row(0.5, 1)], direction)

        assert result is not None
        assert result.best.position == 0


def test_a_study_waits_runs_stalls_stops_and_completes(
    slots: SlotTable, train: Train, storage: Storage
) -> None:
    words = [read_status(storage, "tiny").word]
    lease = slots.lease("node/pilot-0/1")
    assert isinstance(lease, Lease)
    words.append(read_status(storage, "tiny").word)
    with storage.write() as connection:
        connection.execute(update(SLOTS).where(SLOTS.c.slot == lease.slot).values(lease_until=1.0))
    words.append(read_status(storage, "tiny").word)
    assert "no heartbeat from any agent" in text_of(storage)
    slots.heartbeat(lease)
    stop(storage, "tiny")
    words.append(read_status(storage, "tiny").word)
    slots.interrupt(lease, "stopped")
    words.append(read_status(storage, "tiny").word)

    assert words == ["waiting", "running", "stalled", "stopping", "stopped"]


def test_the_time_left_follows_from_the_epochs_so_far(
    slots: SlotTable, train: Train, storage: Storage
) -> None:
    train(28.0)
    with storage.write() as connection:
        # Two epochs in ten seconds; two trials of two epochs each are left.
        connection.execute(update(ATTEMPTS).values(started_at=100.0, ended_at=110.0))

    assert read_status(storage, "tiny").seconds_left == 20.0


def test_the_export_of_a_study_without_a_result_says_so(
    slots: SlotTable, storage: Storage
) -> None:
    with pytest.raises(StudyError, match=r"study tiny: no trial has completed yet"):
        export(storage, "tiny")
    with pytest.raises(StudyError, match=r"no trial has completed yet"):
        export(storage, None)
    with pytest.raises(
        StudyError, match=r"--study other: .* holds no such study\. It holds: tiny"
    ):
        export(storage, "other")


def test_a_file_name_in_place_of_a_study_is_explained(slots: SlotTable, storage: Storage) -> None:
    with pytest.raises(StudyError, match=r"takes the name of a study that was launched, not its"):
        read_status(storage, "tiny.yaml")


def test_the_export_is_the_same_each_time_and_in_both_formats(
    train: Train, storage: Storage
) -> None:
    import yaml

    for value in (28.0, 29.5, 29.0):
        train(value)

    entries = export(storage, None)

    assert render(entries, "yaml") == render(export(storage, "tiny"), "yaml")
    assert yaml.safe_load(render(entries, "yaml")) == json.loads(render(entries, "json"))
    assert entries[0]["density"] == [0.75]
    assert entries[0]["difference"] == {"validation": 1.5, "test": 1.5}


def test_an_export_in_which_plain_is_best_writes_both_out(storage: Storage, train: Train) -> None:
    train(30.0)

    text = render(export(storage, None), "yaml")

    # YAML refers to an earlier place by &id001 and *id001, which nobody wants to read.
    assert "*" not in text
    assert text.count("test_psnr_db: 29.0") == 2


def test_the_value_is_that_of_the_weights_that_were_tested(
    storage: Storage, slots: SlotTable
) -> None:
    lease = slots.lease("node/pilot-0/1")
    assert isinstance(lease, Lease)
    slots.report(lease, 1, 30.0, {"psnr_db": 30.0})
    slots.report(lease, 2, 29.0, {"psnr_db": 29.0})

    # Early stopping: the first epoch was the best.
    slots.complete(lease, {"psnr_db": 30.0, "test_psnr_db": 28.0, "best_epoch": 1}, {})

    (plain, *_) = read_status(storage, "tiny").trials
    client = optuna_client(storage)
    trial = optuna.load_study(study_name="tiny", storage=client).trials[0]
    close_client(client, storage)
    assert (plain.value, plain.metrics["psnr_db"], plain.epoch) == (30.0, 30.0, 2)
    assert trial.value == 30.0
    assert trial.intermediate_values == {1: 30.0, 2: 29.0}


def test_pilots_at_work_are_shown_before_silent_ones_and_those_before_ended_ones() -> None:
    states = {0: "working", 1: "ended", 2: "silent", 3: "ended", 4: "working"}
    pilots = [
        PilotUse(number, None, (f"n{number}",), AgentState(state), gpu_hours=1.0)
        for number, state in states.items()
    ]
    out = Console(file=StringIO(), width=80)

    out.print(pilots_table(pilots, rows=4))

    assert isinstance(out.file, StringIO)
    header, *lines = out.file.getvalue().splitlines()
    assert header.split() == ["pilot", "job", "node", "state", "GPU-hours"]
    assert [line.split() for line in lines] == [
        ["4", "-", "n4", "at", "work", "1.00"],
        ["0", "-", "n0", "at", "work", "1.00"],
        ["2", "-", "n2", "silent", "1.00"],
        ["3", "-", "n3", "ended", "1.00"],
        ["1", "more", "1.00"],
    ]


def test_the_pilots_are_counted_by_what_is_known_of_them(
    slots: SlotTable, storage: Storage
) -> None:
    places = [PilotPlace(number, f"n{number}") for number in range(4)]
    records = [PilotRecord(storage, "tiny", place, gpus_total=0) for place in places]
    records[0].end()
    with storage.write() as connection:
        connection.execute(
            update(PILOTS).where(PILOTS.c.pilot == 1).values(seen_at=storage.now() - 301)
        )

    status = read_status(storage, "tiny")

    assert status_json(status)["agents"] == {"working": 2, "silent": 1, "ended": 1}
    assert "pilots: 2 at work, 1 silent, 1 ended" in text_of(storage)
