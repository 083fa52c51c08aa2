"""GPU-hours in numbers that can be checked by hand, and a cap that is never passed."""

import json
import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console
from sqlalchemy import func, select, update

from tests.sweep.scenarios.test_local_sweep import assert_all_gone, await_status
from tests.sweep.slots.test_table import leased
from tests.sweep.tiny import TINY, StudyFile, Sweep
from wconv_sweep.cli.views.status import status_json, status_view
from wconv_sweep.errors import StudyError
from wconv_sweep.evidence.accounting import slot_gpu_hours, slot_hours, trial_gpu_hours, usage_of
from wconv_sweep.evidence.overview import StudyOverview, read_overview
from wconv_sweep.evidence.study_status import read_status
from wconv_sweep.pilots import running
from wconv_sweep.pilots.order import PilotOrder
from wconv_sweep.pilots.place import PilotPlace
from wconv_sweep.pilots.registry import PilotRecord
from wconv_sweep.results.html.page import html_report
from wconv_sweep.run_folder import RunFolder
from wconv_sweep.slots import studies
from wconv_sweep.slots.table import Lease, NoSlot, SlotTable
from wconv_sweep.storage.open_storage import Storage
from wconv_sweep.storage.tables import ATTEMPTS, PILOTS, SLOTS, SlotState, StudyState
from wconv_sweep.study.config import StudyConfig
from wconv_sweep.study.point import Point

HOUR_S = 3600.0
LEASE_S = 60.0

Launch = Callable[..., SlotTable]


@pytest.fixture
def launch(storage: Storage) -> Launch:
    """Create or extend the study of up to six trials of ten epochs."""

    def create(
        *,
        cap: float | None = None,
        gpus: int = 1,
        trials: int = 6,
        per_gpu: int = 1,
        also: dict[str, object] | None = None,
    ) -> SlotTable:
        recipe = TINY["recipe"] | {"epochs": 10}
        budget = {"trials": trials, "gpu_hours": cap}
        search = TINY["search"] | {"also": also or {}}
        sections = {"recipe": recipe, "budget": budget, "trial": {"per_gpu": per_gpu}}
        sections |= {"search": search}
        config = StudyConfig.model_validate(TINY | sections)
        studies.create_or_extend(storage, config, RunFolder.of(storage.folder, "tiny"), "local")
        return SlotTable(storage, config, lease_s=LEASE_S, gpus_per_trial=gpus)

    return create


def lasts(storage: Storage, lease: Lease, hours: float) -> None:
    """Let the attempt have begun so long ago; an attempt that has ended, so long before."""
    with storage.write() as connection:
        until = func.coalesce(ATTEMPTS.c.ended_at, storage.now())
        connection.execute(
            update(ATTEMPTS)
            .where(ATTEMPTS.c.slot == lease.slot, ATTEMPTS.c.attempt == lease.attempt)
            .values(started_at=until - hours * HOUR_S)
        )


def complete(slots: SlotTable, storage: Storage, hours: float) -> None:
    """Complete the next slot in so many hours."""
    lease = leased(slots)
    if lease.point is None:
        slots.set_point(lease, Point((0.5 + lease.position / 10,)))
    for epoch in range(lease.epoch + 1, 11):
        slots.report(lease, epoch, 28.0, {})
    slots.complete(lease, {}, {})
    lasts(storage, lease, hours)


def pilot(storage: Storage, gpus: int, hours: float, *, number: int = 0) -> None:
    """Record a pilot that has been at work for so many hours."""
    PilotRecord(storage, "tiny", PilotPlace(number, "node"), gpus_total=gpus)
    with storage.write() as connection:
        connection.execute(
            update(PILOTS)
            .where(PILOTS.c.pilot == number)
            .values(started_at=PILOTS.c.seen_at - hours * HOUR_S)
        )


def terminal(status: StudyOverview) -> str:
    """Return what a terminal of 80 columns shows."""
    console = Console(width=80)
    with console.capture() as captured:
        console.print(status_view(status))
    return captured.get()


def spent(storage: Storage) -> float:
    return read_status(storage, "tiny").usage.spent_h


def test_gpu_hours_are_summed_per_trial_pilot_and_study(launch: Launch, storage: Storage) -> None:
    slots = launch(gpus=2)
    complete(slots, storage, 1.0)
    interrupted = leased(slots)
    slots.interrupt(interrupted, "stopped")
    lasts(storage, interrupted, 0.25)
    complete(slots, storage, 0.5)
    pilot(storage, 4, 1.5)
    pilot(storage, 4, 0.5, number=1)

    with storage.read() as connection:
        trials = trial_gpu_hours(connection, storage.now(), "tiny")
        usage = usage_of(connection, storage.now(), "tiny")

    assert trials == pytest.approx({0: 2.0, 1: 1.5}, abs=0.01)
    pilots = {each.pilot: each.gpu_hours for each in read_status(storage, "tiny").pilots}
    assert pilots == pytest.approx({0: 6.0, 1: 2.0}, abs=0.01)
    assert (usage.attempts_h, usage.pilots_h) == pytest.approx((3.5, 8.0), abs=0.01)
    # What a site bills: pilots hold GPUs also when no trial uses them.
    assert usage.spent_h == usage.pilots_h


def test_trials_that_share_a_gpu_use_their_part_of_it(launch: Launch, storage: Storage) -> None:
    slots = launch(per_gpu=4, cap=2.2)
    for _ in range(4):  # side by side
        complete(slots, storage, 1.0)
    lease = leased(slots)
    lasts(storage, lease, 0.5)
    pilot(storage, 1, 1.5)

    with storage.read() as connection:
        trials = trial_gpu_hours(connection, storage.now(), "tiny")
        (*_, running) = slot_hours(connection, storage.now(), "tiny")
        one = slot_gpu_hours(connection, storage.now(), lease.slot)
        usage = usage_of(connection, storage.now(), "tiny")

    assert trials == pytest.approx({**dict.fromkeys(range(4), 0.25), 4: 0.125}, abs=0.01)
    assert (running.gpu_hours, running.seconds) == pytest.approx((0.125, 1800), abs=10)
    assert one == pytest.approx(0.125, abs=0.01)
    # The GPU is not counted four times; a trial takes an hour of it, however many share it.
    assert (usage.attempts_h, usage.pilots_h) == pytest.approx((1.125, 1.5), abs=0.01)
    assert (usage.trial_h, usage.held_h) == pytest.approx((0.25, 1.0), abs=0.01)
    # The running one keeps the GPU for up to an hour, which the cap of 2.2 does not allow.
    assert not usage.allows(0)


@pytest.mark.parametrize(
    ("key", "values", "expected", "later_h"),
    [
        ("model.options.width", [4, 8], 3.0, 4.0),
        ("recipe.optimizer.lr", [0.003, 0.001], 2.0, 2.0),
    ],
)
def test_where_a_search_changes_the_costs_the_cap_counts_a_trial_as_the_dearest(
    launch: Launch,
    storage: Storage,
    key: str,
    values: list[float],
    expected: float,
    later_h: float,
) -> None:
    slots = launch(cap=7.5, also={key: {"choices": values}})
    settings = ((key, values[0]),)
    for hours in (1.0, 3.0):
        lease = leased(slots)
        if lease.point is None:
            slots.set_point(lease, Point((0.9,), settings))
        slots.report(lease, 10, 28.0, {})
        slots.complete(lease, {}, {})
        lasts(storage, lease, hours)
    running = leased(slots)

    with storage.read() as connection:
        usage = usage_of(connection, storage.now(), "tiny")
    lasts(storage, running, 4.0)
    with storage.read() as connection:
        later = usage_of(connection, storage.now(), "tiny")

    assert usage.trial_h == pytest.approx(expected, abs=0.01)
    assert usage.running_h == pytest.approx(expected, abs=0.01)
    # The one that runs has become the dearest itself.
    assert later.trial_h == pytest.approx(later_h, abs=0.01)


def test_status_tells_what_each_pilot_has_used(launch: Launch, storage: Storage) -> None:
    complete(launch(gpus=2), storage, 1.0)
    # Two nodes for a quarter of an hour, then once more after SLURM has put the job back.
    for restart in (0, 1):
        for host in ("n0", "n1"):
            place = PilotPlace(3, host, hosts=("n0", "n1"), job="77_3", restart=restart)
            record = PilotRecord(storage, "tiny", place, gpus_total=4)
            with storage.write() as connection:
                connection.execute(
                    update(PILOTS)
                    .where(PILOTS.c.job == place.incarnation, PILOTS.c.host == host)
                    .values(started_at=PILOTS.c.seen_at - HOUR_S / 4)
                )
            if host == "n1":
                record.end()
    pilot(storage, 4, 1.5, number=4)

    status = read_overview(storage, "tiny")
    page = html_report(storage, "tiny")

    by_pilot = status_json(status)["gpu_hours"]["by_pilot"]
    hours = [each.pop("gpu_hours") for each in by_pilot]
    assert hours == pytest.approx([4.0, 6.0], abs=0.01)
    assert by_pilot == [
        {"pilot": 3, "job": "77_3", "hosts": ["n0", "n1"], "state": "working"},
        {"pilot": 4, "job": None, "hosts": ["node"], "state": "working"},
    ]
    assert sum(hours) == pytest.approx(status.usage.pilots_h)
    lines = [" ".join(line.split()) for line in terminal(status).splitlines()]
    assert lines[lines.index("pilot job node state GPU-hours") :][1:3] == [
        "4 - node at work 6.00",
        "3 77_3 n0 +1 at work 4.00",
    ]
    cells = re.findall(r"<td[^>]*>\s*([^<]*?)\s*</td>", page)
    rows = [cells[number : number + 5] for number, cell in enumerate(cells) if cell == "n1"]
    assert [row[:4] for row in rows] == [["n1", f"77_3.{n}", "4", "1.00"] for n in (0, 1)]


def test_of_many_pilots_the_earlier_ones_are_summed(launch: Launch, storage: Storage) -> None:
    launch(gpus=4)
    for number in range(20):
        host = f"a-node-with-a-very-long-name-{number}.of-a-cluster.somewhere.org"
        PilotRecord(
            storage, "tiny", PilotPlace(number, host, job=f"77_{number}"), gpus_total=4
        ).end()
    with storage.write() as connection:
        connection.execute(update(PILOTS).values(started_at=PILOTS.c.seen_at - HOUR_S))
        connection.execute(update(PILOTS).where(PILOTS.c.pilot == 0).values(ended_at=None))

    text = terminal(read_overview(storage, "tiny"))

    lines = [line.split() for line in text.splitlines()]
    begin = next(number for number, line in enumerate(lines) if line[:1] == ["pilot"])
    rows = lines[begin + 1 : begin + 14]
    # The one at work, the latest eleven, and eight of four GPU-hours.
    assert [row[0] for row in rows] == ["0", *(str(number) for number in range(19, 8, -1)), "8"]
    assert rows[-1] == ["8", "more", "32.00"]
    assert max(map(len, text.splitlines())) <= 80


def test_time_on_cpus_is_not_counted(launch: Launch, storage: Storage) -> None:
    slots = launch(gpus=0)
    complete(slots, storage, 5.0)
    pilot(storage, 0, 5.0)

    status = read_status(storage, "tiny")

    assert (status.usage.spent_h, status.counts_gpus) == (0.0, False)
    assert "gpu_hours" not in status_json(status)


def test_a_dead_agent_costs_no_more_than_its_lease(launch: Launch, storage: Storage) -> None:
    lease = leased(launch(gpus=1))
    lasts(storage, lease, 3.0)
    with storage.write() as connection:
        an_hour_ago = storage.now() - HOUR_S
        connection.execute(update(SLOTS).values(lease_until=an_hour_ago))

    assert spent(storage) == pytest.approx(2.0, abs=0.01)


def test_a_pilot_counts_to_its_last_sign_of_life(launch: Launch, storage: Storage) -> None:
    launch()
    record = PilotRecord(storage, "tiny", PilotPlace(0, "node"), gpus_total=2)
    with storage.write() as connection:
        connection.execute(update(PILOTS).values(started_at=storage.now() - HOUR_S))

    record.seen()
    seen = spent(storage)
    record.end()
    successor = PilotRecord(storage, "tiny", PilotPlace(0, "node"), gpus_total=2)
    successor.seen()

    assert seen == pytest.approx(2.0, abs=0.01)
    assert spent(storage) == pytest.approx(2.0, abs=0.01)


def test_a_pilots_record_that_is_begun_twice_counts_once(launch: Launch, storage: Storage) -> None:
    launch()
    for _ in range(2):
        PilotRecord(storage, "tiny", PilotPlace(0, "node"), gpus_total=8)

    with storage.read() as connection:
        left_open = connection.scalars(
            select(func.count()).select_from(PILOTS).where(PILOTS.c.ended_at.is_(None))
        ).one()
    assert left_open == 1
    assert spent(storage) == pytest.approx(0.0, abs=0.01)


def test_the_canary_is_leased_while_nothing_is_known_of_the_cost(launch: Launch) -> None:
    assert isinstance(launch(cap=0.001).lease("node/pilot-0/1"), Lease)


def test_under_a_cap_the_canary_is_alone_until_its_epoch_tells_the_cost(launch: Launch) -> None:
    slots = launch(cap=3.5)
    leased(slots)

    assert slots.lease_many("node/pilot-0/1", 3, stepped=True) is NoSlot.WAIT


def test_the_hours_before_a_pilots_first_sign_of_life_count(
    launch: Launch, storage: Storage
) -> None:
    launch(cap=10.0)
    here = PilotPlace(0, "node", job="77")
    # Written twice, as after a lost answer: these are the hours of one start.
    for _ in range(2):
        record = PilotRecord(storage, "tiny", here, gpus_total=4, held_s=HOUR_S / 2)
    loaded = spent(storage)
    record.end()
    PilotRecord(storage, "tiny", PilotPlace(0, "node", job="78"), gpus_total=4, held_s=HOUR_S)

    assert loaded == pytest.approx(2.0, abs=0.01)
    # A clock that is ahead of the database's makes no GPU count twice.
    assert spent(storage) == pytest.approx(2.0, abs=0.01)


def test_a_pilot_whose_job_has_used_the_cap_before_it_could_start_trains_nothing(
    launch: Launch, storage: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    launch(cap=3.0)
    order = PilotOrder(
        study="tiny",
        storage=storage.name,
        run_folder=tmp_path,
        launcher="slurm",
        pilot=0,
        gpus_used_per_node=4,
        gpus_held_per_node=4,
        lease_s=LEASE_S,
        grace_s=10.0,
        walltime_s=HOUR_S,
    )
    path = tmp_path / "order.json"
    path.write_text(order.model_dump_json(), "utf-8")
    an_hour_ago = int(time.time() - HOUR_S)
    job = {"JOB_ID": 77, "JOB_START_TIME": an_hour_ago, "JOB_END_TIME": an_hour_ago + 2 * HOUR_S}
    for name, value in job.items():
        monkeypatch.setenv(f"SLURM_{name}", f"{value:.0f}")
    monkeypatch.setattr(running, "configure_agent_logging", lambda: None)

    running.run_pilot(str(path))

    # It has waited for modules, a slow disk or the storage.
    assert spent(storage) == pytest.approx(4.0, abs=0.1)
    assert {trial.attempt for trial in read_status(storage, "tiny").trials} == {0}


def test_pilots_that_wait_for_the_canary_end_once_the_hours_are_used_up(
    launch: Launch, storage: Storage
) -> None:
    slots = launch(cap=2.0)
    canary = leased(slots)
    pilot(storage, 4, 0.25)
    early = slots.lease("node/pilot-1/2")
    pilot(storage, 4, 0.3, number=1)

    late = slots.lease("node/pilot-1/2")

    # The canary is still loading its data, and reaches no checkpoint before that.
    assert (early, late) == (NoSlot.WAIT, NoSlot.CAPPED)
    assert slots.heartbeat(canary) is StudyState.CAPPED
    slots.interrupt(canary, "stopped")
    assert slots.lease("node/pilot-0/1") is NoSlot.CAPPED
    assert not slots.has_open()


def test_no_trial_is_leased_that_would_pass_the_cap(launch: Launch, storage: Storage) -> None:
    slots = launch(cap=3.5)
    for _ in range(3):
        complete(slots, storage, 1.0)

    status = read_status(storage, "tiny")

    assert slots.lease("node/pilot-0/1") is NoSlot.CAPPED
    assert status.word == "capped"
    assert status.counts[SlotState.OPEN] == 3
    assert status_json(status)["gpu_hours"]["cap"] == 3.5


def test_what_running_trials_still_need_counts_as_spent(launch: Launch, storage: Storage) -> None:
    slots = launch(cap=3.5)
    complete(slots, storage, 1.0)
    running = leased(slots)
    lasts(storage, running, 0.5)
    for epoch in range(1, 6):
        slots.report(running, epoch, 28.0, {})

    second = slots.lease("node/pilot-1/2")
    third = slots.lease("node/pilot-2/3")

    # 1.5 are spent, 0.5 are still to come; then one trial more makes 3, and two make 4.
    assert isinstance(second, Lease)
    assert third is NoSlot.CAPPED


def test_several_leases_at_once_stay_below_the_cap(launch: Launch, storage: Storage) -> None:
    slots = launch(cap=3.5)
    complete(slots, storage, 1.0)

    leases = slots.lease_many("node/pilot-0/1", 5)

    assert isinstance(leases, list)
    assert len(leases) == 2


def test_a_trial_that_goes_on_costs_what_is_left_of_it(launch: Launch, storage: Storage) -> None:
    slots = launch(cap=2.3)
    complete(slots, storage, 1.0)
    nearly = leased(slots)
    for epoch in range(1, 9):
        slots.report(nearly, epoch, 28.0, {})
    slots.interrupt(nearly, "stopped")
    lasts(storage, nearly, 0.8)
    # The slot before it has not begun, and is too expensive.
    with storage.write() as connection:
        connection.execute(update(SLOTS).where(SLOTS.c.slot == nearly.slot).values(position=99))

    lease = leased(slots)

    assert (lease.slot, lease.epoch) == (nearly.slot, 8)
    assert slots.lease("node/pilot-1/2") is NoSlot.CAPPED


def test_before_a_trial_has_ended_its_epochs_tell_the_cost(
    launch: Launch, storage: Storage
) -> None:
    slots = launch(cap=2.0)
    canary = leased(slots)
    lasts(storage, canary, 0.3)
    for epoch in (1, 2):
        slots.report(canary, epoch, 28.0, {})

    # 0.15 an epoch, 1.5 a trial: the canary alone ends below the cap.
    assert slots.lease("node/pilot-1/2") is NoSlot.CAPPED
    assert slots.heartbeat(canary) is StudyState.ACTIVE


@pytest.mark.slow
def test_idle_gpus_of_a_pilot_are_part_of_what_a_trial_costs(
    launch: Launch, storage: Storage
) -> None:
    slots = launch(cap=7.9, gpus=1)
    complete(slots, storage, 1.0)
    pilot(storage, 4, 1.0)

    # A lone trial of one GPU holds a pilot of four: 4 are spent, and the next one costs 4.
    assert slots.lease("node/pilot-0/1") is NoSlot.CAPPED


def test_trials_side_by_side_share_the_cost_of_their_pilot(
    launch: Launch, storage: Storage
) -> None:
    slots = launch(cap=8.1, gpus=1)
    complete(slots, storage, 1.0)
    pilot(storage, 4, 1.0)

    leases = slots.lease_many("node/pilot-0/1", 5)

    # 4 are spent; four trials on four GPUs make it 8, and a fifth would make it 9.
    assert isinstance(leases, list)
    assert len(leases) == 4
    status = read_status(storage, "tiny")
    assert status.usage.trial_h == status.trial_h == pytest.approx(1.0, abs=0.01)


def test_gpus_that_no_lane_can_use_are_part_of_what_a_trial_costs(
    launch: Launch, storage: Storage
) -> None:
    slots = launch(gpus=3)
    complete(slots, storage, 1.0)
    pilot(storage, 8, 1.0)

    # Two lanes of three on eight GPUs: each trial costs four.
    assert read_status(storage, "tiny").trial_h == pytest.approx(4.0, abs=0.01)


def test_idle_gpus_of_whole_nodes_are_part_of_what_a_trial_is_said_to_cost(
    launch: Launch, storage: Storage
) -> None:
    """Profiles with `whole_nodes: true` and fewer GPUs than a node has: all of them are billed."""
    slots = launch(gpus=1)
    pilot(storage, 4, 2.0)
    canary = leased(slots)
    lasts(storage, canary, 1.0)
    for epoch in range(1, 11):
        slots.report(canary, epoch, 28.0, {})

    # While an agent has its first trial, others may be about to join it.
    assert read_status(storage, "tiny").trial_h == pytest.approx(1.0, abs=0.01)
    slots.complete(canary, {}, {})
    with storage.write() as connection:
        earlier = {name: ATTEMPTS.c[name] - HOUR_S for name in ("started_at", "ended_at")}
        connection.execute(update(ATTEMPTS).values(earlier))
    complete(slots, storage, 1.0)
    # None has: a trial of one GPU holds all four.
    status = read_status(storage, "tiny")
    assert status.trial_h == pytest.approx(4.0, abs=0.05)
    assert "about 4.00 a trial" in terminal(status)
    lanes = slots.lease_many("node/pilot-0/1", 2)
    assert isinstance(lanes, list)
    # Two agents at work at a time are no two lanes.
    slots.lease_many("node/pilot-1/1", 2)

    assert read_status(storage, "tiny").trial_h == pytest.approx(2.0, abs=0.05)


def test_pilots_that_are_dead_are_not_expected_to_cost_more(
    launch: Launch, storage: Storage
) -> None:
    slots = launch(cap=7.9, gpus=1)
    complete(slots, storage, 1.0)
    pilot(storage, 4, 1.0)
    with storage.write() as connection:
        earlier = {name: PILOTS.c[name] - HOUR_S for name in ("started_at", "seen_at")}
        connection.execute(update(PILOTS).values(earlier))

    assert isinstance(slots.lease("node/pilot-1/2"), Lease)


def test_a_running_trial_stops_before_an_epoch_that_would_pass_the_cap(
    launch: Launch, storage: Storage
) -> None:
    slots = launch(cap=2.0)
    complete(slots, storage, 1.0)
    running = leased(slots)
    slots.report(running, 1, 28.0, {})
    lasts(storage, running, 0.85)
    in_time = slots.heartbeat(running)

    lasts(storage, running, 0.95)
    too_late = slots.heartbeat(running)

    # An epoch costs 0.1.
    assert (in_time, too_late) == (StudyState.ACTIVE, StudyState.CAPPED)


def test_a_raised_cap_lets_the_study_go_on_and_a_lower_one_is_refused(
    launch: Launch, storage: Storage
) -> None:
    slots = launch(cap=1.5)
    complete(slots, storage, 1.0)
    capped = slots.lease("node/pilot-0/1")

    launch(cap=2.5)
    # Also for an agent that began under the old one.
    raised = slots.lease("node/pilot-0/1")

    assert capped is NoSlot.CAPPED
    assert isinstance(raised, Lease)
    with pytest.raises(StudyError, match=r"budget.gpu_hours was 2.5, is now 1 \(it may only grow"):
        launch(cap=1.0)


def test_a_launch_that_names_no_cap_leaves_the_one_that_holds(
    launch: Launch, storage: Storage
) -> None:
    slots = launch(cap=1.5)
    complete(slots, storage, 1.0)

    launch(cap=None)

    assert slots.lease("node/pilot-0/1") is NoSlot.CAPPED
    assert read_status(storage, "tiny").usage.cap_h == 1.5


def test_a_cap_changes_no_end_of_the_study(
    launch: Launch, storage: Storage, tiny_config: StudyConfig
) -> None:
    slots = launch(cap=100.0, trials=2)
    for _ in range(2):
        complete(slots, storage, 1.0)

    assert slots.lease("node/pilot-0/1") is NoSlot.END
    assert read_status(storage, "tiny").word == "complete"


def test_trials_of_unequal_length_never_pass_the_cap(launch: Launch, storage: Storage) -> None:
    slots = launch(cap=20.0, gpus=4, trials=40)
    used = 0.0
    for hours in (0.9, 1.1, 0.5, 1.3, 0.7, 0.2, 1.0, 1.0):
        if not isinstance(slots.lease("node/pilot-0/1", nonce="next"), Lease):
            break
        slots.interrupt_all_of("node/pilot-0/1", "to be leased by what completes it")
        complete(slots, storage, hours)
        used += 4 * hours

    assert slots.lease("node/pilot-0/1") is NoSlot.CAPPED
    assert 16.0 < spent(storage) <= 20.0
    assert spent(storage) == pytest.approx(used, abs=0.01)


@pytest.mark.slow
def test_a_real_study_stops_at_its_cap_and_goes_on_when_it_is_raised(
    sweep: Sweep, study_file: StudyFile
) -> None:
    # Pilots that are billed for four GPUs; there need not be any to train.
    profile = sweep.folder / "four.yaml"
    facts = "schema: 1\ncluster: four\nlauncher: local\npilots: 1\ngpus_per_pilot: 4\n"
    profile.write_text(f"{facts}walltime_min: 60\n", "utf-8")
    launch = ["launch", "--cluster", str(profile), "--study"]
    recipe = TINY["recipe"] | {"epochs": 300}
    cap = 4 * 8 / HOUR_S

    path = study_file(recipe=recipe, budget={"trials": 12, "gpu_hours": cap})
    errors = sweep.run(*launch, str(path), status=1)
    (capped,) = json.loads(sweep.run("status", "--study", "tiny", "--json"))
    again = sweep.run(*launch, str(path), status=1)
    path = study_file(recipe=recipe, budget={"trials": 12, "gpu_hours": 100_000 * cap})
    sweep.run(*launch, str(path), "--detach")
    await_status(sweep, lambda status: bool(status["running"]))
    sweep.run("stop", "--study", "tiny")
    assert_all_gone(sweep)

    assert "GPU-hours, and the next trial would pass the limit:" in errors
    assert again == errors
    assert (capped["state"], capped["running"]) == ("capped", [])
    assert capped["gpu_hours"]["of_trials"] <= cap
    # Nothing is known of the canary's cost until it has started, which a busy machine delays.
    assert capped["gpu_hours"]["spent"] <= cap + 4 * 60 / HOUR_S
