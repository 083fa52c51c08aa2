"""However many pilots there are, SLURM is asked a few times: its answers serve every purpose."""

import re
from pathlib import Path

import pytest

from tests.sweep.profiles import profile
from tests.sweep.slots.test_table import leased
from tests.sweep.slurm.recorded import RecordedSlurm
from tests.sweep.slurm.test_site import CONFIG, NODE, PARTITION
from wconv_sweep.clusters.pilot_request import PilotRequest, resolve_request
from wconv_sweep.evidence.overview import read_overviews
from wconv_sweep.evidence.study_status import study_jobs
from wconv_sweep.launching.slurm.pilots import SlurmPilots, start_slurm
from wconv_sweep.launching.stopping import stop
from wconv_sweep.run_folder import RunFolder
from wconv_sweep.slots import studies
from wconv_sweep.slots.definitions import study_place
from wconv_sweep.slots.leases import LeaseLost
from wconv_sweep.slots.table import SlotTable
from wconv_sweep.slurm.jobs import job_name
from wconv_sweep.storage.open_storage import Storage
from wconv_sweep.study.config import StudyConfig

PILOTS = 240

pytestmark = pytest.mark.parametrize("storage_url", ["sqlite"], indirect=True)


class ManyPilots:
    """A study on a named cluster that takes arrays of 100 jobs, and 40 jobs run at a time."""

    def __init__(self, storage: Storage, config: StudyConfig, slurm: RecordedSlurm) -> None:
        self.storage, self.config, self.slurm = storage, config, slurm
        folder = RunFolder.of(storage.folder, config.study)
        studies.create_or_extend(storage, config, folder, "local")
        self.place = study_place(storage, config.study)
        self.place.folder.create(self.place.uid)
        slurm.says("scontrol", "--clusters=other", "show config", output=CONFIG)
        slurm.says("scontrol", "--clusters=other", "show partition", output=PARTITION)
        slurm.says("scontrol", "--clusters=other", "show node", output=NODE)
        slurm.says("sacctmgr", "show user", output="mine\n")
        # At most 500 jobs of the account wait and run.
        row = "mine||normal|normal|500|||\n"
        slurm.says("sacctmgr", "show associations", "cluster=leonardo", output=row)
        slurm.says("sacctmgr", "show qos")
        slurm.says("sbatch", output="Submitted batch job 4713 on cluster other\n")
        slurm.says("sacct", "--clusters=other")
        slurm.says("scancel", "--clusters=other")

    def launch(self) -> SlurmPilots:
        facts = profile(slurm_cluster="other", max_array_size=100, account="mine")
        shape = resolve_request(facts, PilotRequest(pilots=PILOTS), {})
        return start_slurm(facts, shape, self.config, self.place, self.storage, PILOTS)

    def queue(self, *arrays: int) -> None:
        """Let squeue show arrays, the first 40 elements running, and a job of the user's own."""
        name = job_name(self.config.study, self.place.uid)
        rows = [("1", "N/A", "other|job")]
        elements = [(array, index) for array in arrays for index in range(PILOTS // len(arrays))]
        rows += [(str(array), str(index), name) for array, index in elements]
        self.slurm.says(
            "squeue",
            "--clusters=other",
            output="".join(
                f"{'RUNNING' if number < 40 else 'PENDING'}|normal|mine|boost|{array}|{array}|"
                f"{index}|n1|N/A|N/A|{job}|None\n"
                for number, (array, index, job) in enumerate(rows)
            ),
        )

    def calls(self) -> dict[str, int]:
        counts: dict[str, int] = {}
        for call in self.slurm.calls():
            program = call.split()[0]
            counts[program] = counts.get(program, 0) + 1
        return counts


@pytest.fixture
def many(
    storage: Storage, tiny_config: StudyConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> ManyPilots:
    return ManyPilots(storage, tiny_config, RecordedSlurm(tmp_path / "bin", monkeypatch))


def test_a_launch_of_many_pilots_asks_for_the_queue_once(many: ManyPilots) -> None:
    many.slurm.says("squeue", "--clusters=other")

    pilots = many.launch()

    assert pilots.started == PILOTS
    assert many.calls() == {"squeue": 1, "scontrol": 3, "sacctmgr": 3, "sbatch": 3}
    orders = sorted(path.name for path in many.place.folder.pilots.glob("slurm_*"))
    assert orders == [
        "slurm_0_100_other.json",
        "slurm_100_100_other.json",
        "slurm_200_40_other.json",
    ]
    script = next(many.place.folder.pilots.glob("*_submission.sh")).read_text("utf-8")
    assert "#SBATCH --clusters=other\n" in script


def test_status_and_stop_ask_for_the_queue_once(many: ManyPilots) -> None:
    many.queue(4711, 4712, 4713)
    (many.place.folder.pilots / "slurm_0_240_other.json").touch()

    (view,) = study_jobs(read_overviews(many.storage, many.config.study))
    assert view is not None
    assert (len(view.alive), many.calls()) == (PILOTS, {"squeue": 1, "sacct": 1})
    stopped = stop(many.storage, many.config.study, now=True)

    assert stopped.lines() == [f"tiny: {PILOTS} job(s) cancelled."]
    assert many.calls() == {"squeue": 2, "sacct": 1, "scancel": 1}
    assert many.slurm.calls("scancel") == ["scancel --clusters=other 4711 4712 4713"]


def test_a_launch_counts_what_is_there_and_hands_back_what_is_not(many: ManyPilots) -> None:
    many.queue(4711, 4712)
    (many.place.folder.pilots / "slurm_0_240_other.json").touch()
    slots = SlotTable(many.storage, many.config, lease_s=60.0)
    alive = leased(slots, "slurm-other:4711_3/0/n1/77-ab")
    slots.report(alive, 1, 28.0, {})
    gone = leased(slots, "slurm-third:4711_3/0/n1/77-ab")

    pilots = many.launch()

    assert (pilots.started, pilots.submission.alive_before) == (0, PILOTS)
    assert many.calls() == {"squeue": 1}
    slots.heartbeat(alive)
    with pytest.raises(LeaseLost):
        slots.heartbeat(gone)


def test_the_room_of_a_limit_shrinks_with_each_array(many: ManyPilots) -> None:
    """The site is not asked again after each of them."""
    name = job_name(many.config.study, many.place.uid)
    others = "PENDING|normal|mine|boost|1|1|N/A||N/A|N/A|my own|Priority\n" * 350
    ended = f"COMPLETED|normal|mine|boost|2|2|0|n1|N/A|N/A|{name}|None\n" * 50
    many.slurm.says("squeue", output=others + ended)

    pilots = many.launch()

    assert (pilots.started, pilots.submission.missing) == (150, 90)
    assert "allows you no more jobs" in pilots.submission.held_back
    counts = [re.search(r"slurm_\d+_(\d+)", path.name) for path in _orders(many)]
    assert [found[1] for found in counts if found] == ["100", "50"]


def _orders(many: ManyPilots) -> list[Path]:
    return sorted(many.place.folder.pilots.glob("slurm_*"))
