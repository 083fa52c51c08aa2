"""An agent knows whose slots it may hand back: those of dead agents, and of no others."""

from dataclasses import replace

import pytest
from sqlalchemy import select

from tests.sweep.pilots.test_node_share import order
from tests.sweep.slots.test_table import leased
from wconv_sweep.errors import ConfigurationError
from wconv_sweep.pilots.order import PilotOrder
from wconv_sweep.pilots.place import PilotPlace, place_of
from wconv_sweep.pilots.registry import PilotRecord
from wconv_sweep.run_folder import RunFolder
from wconv_sweep.slots import studies
from wconv_sweep.slots.table import SlotTable
from wconv_sweep.storage.open_storage import Storage
from wconv_sweep.storage.tables import PILOTS
from wconv_sweep.study.config import StudyConfig

ELEMENT = {
    "SLURM_JOB_ID": "1237",
    "SLURM_ARRAY_JOB_ID": "1234",
    "SLURM_ARRAY_TASK_ID": "3",
    "SLURM_NODEID": "1",
    "SLURMD_NODENAME": "n2",
    "SLURM_JOB_NODELIST": "n[1-2]",
}


def slurm_order() -> PilotOrder:
    return order(gpus_used_per_node=4, nodes=2).model_copy(
        update={"launcher": "slurm", "pilot": 10}
    )


def in_job(restart: int, host: str = "n1", job: str = "1234_3") -> PilotPlace:
    return PilotPlace(13, host, hosts=("n1", "n2"), job=job, restart=restart)


def test_an_element_of_an_array_is_known_by_array_element_restart_and_node() -> None:
    environment = ELEMENT | {"SLURM_RESTART_COUNT": "2"}

    place = place_of(slurm_order(), environment, expand=lambda names: ("n1", "n2"))

    assert (place.pilot, place.node, place.hosts) == (13, 1, ("n1", "n2"))
    assert place.prefix == "slurm-1234_3/2/n2/"


def test_a_job_of_its_own_is_known_by_its_number() -> None:
    place = place_of(slurm_order(), {"SLURM_JOB_ID": "99", "SLURMD_NODENAME": "n1"})

    assert (place.pilot, place.prefix) == (10, "slurm-99/0/n1/")


def test_a_job_of_a_named_cluster_is_not_taken_for_one_of_its_number_elsewhere() -> None:
    far_order = slurm_order().model_copy(update={"slurm_cluster": "far"})
    far, near = (
        place_of(each, ELEMENT | {"SLURM_RESTART_COUNT": "2"})
        for each in (far_order, slurm_order())
    )

    assert (far.prefix, far.incarnation) == ("slurm-far:1234_3/2/n2/", "far:1234_3.2")
    assert far.is_dead("slurm-far:1234_3/1/n9/77-ab/cd")
    assert not far.is_dead("slurm-1234_3/1/n9/77-ab/cd")
    assert not near.is_dead("slurm-far:1234_3/1/n9/77-ab/cd")


def test_on_this_machine_slurms_variables_mean_nothing() -> None:
    place = place_of(order(), ELEMENT)

    assert (place.job, place.pilot) == (None, 0)
    assert place.prefix.endswith("/pilot-0/")


def test_an_order_for_slurm_is_refused_outside_of_a_job() -> None:
    with pytest.raises(ConfigurationError, match="SLURM_JOB_ID is not set"):
        place_of(slurm_order(), {})


@pytest.mark.parametrize(
    ("owner", "dead"),
    [
        ("slurm-1234_3/0/n1/77-ab/cd", True),
        ("slurm-1234_3/1/n9/77-ab/cd", True),
        ("slurm-1234_3/2/n2/77-ab/cd", False),  # another node of the same start
        ("slurm-1234_30/0/n1/77-ab/cd", False),  # another job
        ("slurm-1234_3x/0/n1/77-ab/cd", False),
        ("n1/pilot-13/77-ab/cd", False),
    ],
)
def test_a_job_that_starts_again_buries_its_earlier_starts_alone(owner: str, dead: bool) -> None:
    assert in_job(restart=2).is_dead(owner) is dead
    assert not in_job(restart=0).is_dead(owner)


@pytest.fixture
def slots(storage: Storage, tiny_config: StudyConfig) -> SlotTable:
    studies.create_or_extend(storage, tiny_config, RunFolder.of(storage.folder, "tiny"), "local")
    return SlotTable(storage, tiny_config, lease_s=60.0)


def test_what_an_earlier_start_of_the_job_held_is_handed_back_at_once(slots: SlotTable) -> None:
    first = leased(slots, f"{in_job(restart=0).prefix}77-ab")
    slots.report(first, 1, 28.0, {})
    alive = leased(slots, f"{in_job(restart=1, host='n2').prefix}78-cd")
    other = leased(slots, f"{in_job(restart=0, job='1234_30').prefix}79-ef")
    again = in_job(restart=1)

    freed = slots.interrupt_all_of(
        again.dead_prefix, "its pilot died", but=lambda owner: not again.is_dead(owner)
    )

    assert freed == 1
    for lease in (alive, other):
        slots.heartbeat(lease)  # raises LeaseLost unless it is held
    repeated = leased(slots, f"{again.prefix}80-01")
    assert (repeated.slot, repeated.attempt, repeated.epoch) == (first.slot, 2, 1)


@pytest.mark.usefixtures("slots")
def test_an_old_copy_of_a_job_hears_that_the_job_has_started_again(storage: Storage) -> None:
    old = PilotRecord(storage, "tiny", in_job(restart=0), gpus_total=4)
    other = PilotRecord(storage, "tiny", in_job(restart=0, job="1234_30", host="n9"), gpus_total=4)
    elsewhere = replace(in_job(restart=0), cluster="far")
    far = PilotRecord(storage, "tiny", elsewhere, gpus_total=4)
    before = old.seen()

    new = PilotRecord(storage, "tiny", in_job(restart=1, host="n2"), gpus_total=4)

    assert before
    assert [record.seen() for record in (old, other, far, new)] == [False, True, True, True]


@pytest.mark.usefixtures("slots")
def test_agents_of_one_start_do_not_take_each_other_for_dead(storage: Storage) -> None:
    records = [
        PilotRecord(storage, "tiny", in_job(restart=1, host=host), gpus_total=4)
        for host in ("n1", "n2")
    ]

    assert [record.seen() for record in records] == [True, True]


@pytest.mark.usefixtures("slots")
def test_the_last_agent_of_a_pilot_knows_that_it_is_the_last(storage: Storage) -> None:
    PilotRecord(storage, "tiny", in_job(restart=0, host="n3"), gpus_total=4)
    PilotRecord(storage, "tiny", in_job(restart=1, job="1234_4"), gpus_total=4)
    one, two = (
        PilotRecord(storage, "tiny", in_job(restart=1, host=host), gpus_total=4)
        for host in ("n1", "n2")
    )

    last = [one.end(), two.end(), two.end()]

    assert last == [False, True, True]
    with storage.read() as connection:
        ended = connection.execute(
            select(PILOTS.c.job).where(PILOTS.c.ended_at.is_(None))
        ).scalars()
        assert list(ended) == ["1234_4.1"]
