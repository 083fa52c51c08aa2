"""The jobs of a study are told apart by what the commands of real clusters have printed.

The rows are those of SLURM 22.05.8; 24.11.5 and 26.05.5 print the same of cancelled requeues.
"""

from pathlib import Path

import pytest

from tests.sweep.slurm.recorded import RecordedSlurm
from wconv_sweep.errors import SlurmAway, SlurmError
from wconv_sweep.run_folder import RunFolder
from wconv_sweep.slurm.job import JobState
from wconv_sweep.slurm.jobs import SlurmView, alive_jobs, cancel, views_of
from wconv_sweep.slurm.orders import clusters_of, next_order

NAME = "wconv-tiny-12345678"
# The numbers are those of both clusters.
ROWS_HERE = (
    f"RUNNING|normal|wconv|gpu|60604747|60604745|0|n1|2026-11-30T14:04:31|2026-11-30T14:34:31|{NAME}|None\n"
    f"RUNNING|normal|wconv|gpu|60604745|60604745|1|n1|2026-11-30T14:04:31|2026-11-30T14:34:31|{NAME}|None\n"
)
ROWS_FAR = f"PENDING|normal|far|far|60604745|60604745|0||N/A|N/A|{NAME}|Priority\n"
UNREACHABLE = (
    "squeue: error: 'other' can't be reached now, or it is an invalid entry for --cluster.  Use "
    "'sacctmgr list clusters' to see available clusters.\n"
)
UNKNOWN = f"squeue: error: No cluster 'other' known by database.\n{UNREACHABLE}"


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RecordedSlurm:
    return RecordedSlurm(tmp_path / "bin", monkeypatch)


def view(*clusters: str | None) -> SlurmView:
    return views_of({NAME: clusters or (None,)})[NAME]


def test_one_number_on_two_clusters_is_two_jobs(slurm: RecordedSlurm) -> None:
    slurm.says("squeue", "--clusters=other", output=ROWS_FAR)
    slurm.says("squeue", output=ROWS_HERE)
    ended = "60604745|60604745_1|CANCELLED by 0|0:0|far1|2026-11-30T14:04:30|2026-11-30T14:04:50"
    slurm.says("sacct", "--clusters=other", output=f"{NAME}|{ended}\n")
    slurm.says("sacct")
    slurm.says("scontrol", "show config", output="ClusterName             = testbox\n")
    slurm.says("scancel")

    known = view(None, "other")
    cancel(known.alive)

    assert [(job.cluster, job.name, job.state) for job in (*known.alive, *known.ended)] == [
        (None, "60604745_0", JobState.RUNNING),
        (None, "60604745_1", JobState.RUNNING),
        ("other", "60604745_0", JobState.PENDING),
        ("other", "60604745_1", JobState.CANCELLED),
    ]
    assert slurm.calls("scancel") == ["scancel 60604745", "scancel --clusters=other 60604745"]
    assert (len(slurm.calls("squeue")), len(slurm.calls("sacct"))) == (2, 2)


def test_the_cluster_of_this_machine_is_asked_once_by_whatever_names(slurm: RecordedSlurm) -> None:
    slurm.says("scontrol", "show config", output="ClusterName             = testbox\n")
    slurm.says("squeue", "--clusters=testbox", output=ROWS_HERE)

    assert len(alive_jobs(NAME, (None, "testbox"))) == 2


def test_a_cluster_that_is_away_hides_no_jobs_of_another(slurm: RecordedSlurm) -> None:
    slurm.says("squeue", "--clusters=other", errors=UNREACHABLE, status=1)
    slurm.says("squeue", "--clusters=third", output=ROWS_HERE)
    slurm.says("sacct")

    known = view("other", "third")

    assert (len(known.alive), known.known) == (2, False)
    assert "it is unknown which jobs are running: squeue --clusters=other" in known.warnings[0]


def test_a_cluster_of_this_machine_that_is_away_hides_no_jobs_of_another(
    slurm: RecordedSlurm,
) -> None:
    slurm.says("scontrol", "show config", errors=UNREACHABLE, status=1)
    slurm.says("squeue", "--clusters=other", output=ROWS_HERE)
    slurm.says("squeue", errors=UNREACHABLE, status=1)
    slurm.says("sacct")
    slurm.says("scancel")

    known = view(None, "other")
    cancel(known.alive)

    assert [job.cluster for job in known.alive] == ["other", "other"]
    assert not known.known
    assert slurm.calls("scancel") == ["scancel --clusters=other 60604745"]


@pytest.mark.parametrize(("said", "away"), [(UNREACHABLE, True), (UNKNOWN, False)])
def test_a_cluster_without_a_controller_is_away_and_one_without_a_name_a_mistake(
    slurm: RecordedSlurm, said: str, away: bool
) -> None:
    slurm.says("squeue", errors=said, status=1)

    with pytest.raises(SlurmError) as error:
        alive_jobs(NAME, ("other",))

    assert isinstance(error.value, SlurmAway) is away
    assert ("Change slurm_cluster in the profile" in str(error.value)) is not away


@pytest.mark.parametrize(
    ("word", "alive"),
    [("COMPLETING", True), ("CANCELLED", False), (None, False)],  # None: a while later
)
def test_a_job_that_is_cancelled_while_it_ends_to_be_put_back_is_cancelled(
    slurm: RecordedSlurm, word: str | None, alive: bool
) -> None:
    """Accounting has one row of it, for ever."""
    times = "2026-11-30T00:18:49|2026-11-30T00:18:50"
    if word:
        slurm.says("squeue", output=f"{word}|normal|w|gpu|7|7|0|n1|{times}|{NAME}|None\n")
    else:
        slurm.says("squeue")
    slurm.says("sacct", output=f"{NAME}|7|7_0|REQUEUED|0:0|n1|{times}\n")

    known = view()

    assert [job.state for job in known.alive] == [JobState.COMPLETING] * alive
    ended = [] if alive else [(JobState.CANCELLED, "CANCELLED")]
    assert [(job.state, job.reason) for job in known.ended] == ended


@pytest.mark.parametrize(
    ("times", "state"),
    [
        ("2026-11-30T14:05:39|2026-11-30T14:35:39", JobState.REVOKED),  # it has begun elsewhere
        ("N/A|N/A", JobState.REVOKED),  # it runs there, some seconds later
        ("2026-11-30T14:05:36|2026-11-30T14:05:36", JobState.UNKNOWN),  # it has ended there
    ],
)
def test_a_job_that_another_cluster_of_the_federation_has_started_lives_as_long_as_there(
    slurm: RecordedSlurm, times: str, state: JobState
) -> None:
    number = "194822482"
    queued = f"REVOKED|normal|wconv|serial|{number}|{number}|N/A||{times}|{NAME}|None\n"
    slurm.says("squeue", output=queued)
    slurm.says(
        "sacct",
        output=f"{NAME}|{number}|{number}|REVOKED|0:0|None assigned|None|2026-11-30T14:05:36\n",
    )

    known = view()

    assert [job.state for job in (*known.alive, *known.ended)] == [state]
    assert [job.alive for job in known.alive] == [True] * (state is JobState.REVOKED)
    # SLURM 24.11.5 and 26.05.5 show no such job otherwise.
    assert " --all " in slurm.calls("squeue")[0]


def test_a_row_of_squeue_that_is_none_is_shown(slurm: RecordedSlurm) -> None:
    slurm.says("squeue", output="CLUSTER: other\nRUNNING|normal|wconv\n")

    with pytest.raises(SlurmError, match=r"wconv', which SLURM itself does not"):
        alive_jobs(NAME)


def test_the_run_folder_knows_the_clusters_of_a_study(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.pilots.mkdir()
    assert clusters_of(folder) == frozenset()

    for cluster, count in ((None, 3), ("far_1.x", 2), (None, 1)):
        path, _ = next_order(folder, count, cluster)
        path.touch()

    assert clusters_of(folder) == {None, "far_1.x"}
    assert next_order(folder, 1, "far_1.x")[0].name == "slurm_6_1_far_1.x.json"
