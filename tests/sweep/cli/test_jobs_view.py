"""`status` says why pilots wait, when SLURM expects to start them, and how they ended."""

import json
from dataclasses import replace

from wconv_sweep.cli.views.jobs import jobs_json, jobs_lines
from wconv_sweep.slurm.job import JobState, SlurmJob
from wconv_sweep.slurm.jobs import SlurmView

WAITS = SlurmJob("7", "7", "0", JobState.PENDING, "Priority", "", "2026-11-30T18:00:00", "")
LATER = replace(WAITS, index="1", start="2026-12-01T06:00:00")
STUCK = replace(WAITS, index="2", reason="PartitionTimeLimit", start="")
RUNS = replace(WAITS, index="3", state=JobState.RUNNING, reason="None", nodes="n1")
PAUSED = replace(RUNS, index="4", state=JobState.SUSPENDED)
ODD = replace(WAITS, index="5", reason="Quux", start="2026-11-30T19:00:00")
FAILED = replace(RUNS, index="6", state=JobState.FAILED, reason="FAILED, exit status 3:0")
DONE = replace(RUNS, index="7", state=JobState.COMPLETED, reason="COMPLETED")
VIEW = SlurmView((WAITS, LATER, STUCK, RUNS, PAUSED, ODD), (FAILED, DONE))


def test_each_reason_is_told_once_in_words_with_the_first_expected_start() -> None:
    assert jobs_lines(VIEW) == [
        "pilots: 2 pending (Priority), 1 pending (PartitionTimeLimit, never starts), 1 running, "
        "1 suspended (None), 1 pending (Quux)",
        "  Priority: jobs of a higher priority come first: it starts by itself; SLURM expects the "
        "first to start at 2026-11-30T18:00:00",
        "  PartitionTimeLimit: its time limit is longer than the partition allows, so it will "
        "never start: cancel it with scancel and launch again; lower --time or walltime_min in "
        "the profile, or choose another --partition",
        "  Quux: SLURM expects the first to start at 2026-11-30T19:00:00",
        "pilots that have ended: 1 failed, 1 completed",
        "  FAILED, exit status 3:0: the batch script ended with exit status 3: read the "
        "pilot's log",
    ]


def test_where_there_are_few_lines_slurms_words_stand_alone() -> None:
    assert [line.split(":")[0] for line in jobs_lines(VIEW, meanings=False)] == [
        "pilots",
        "pilots that have ended",
    ]


def test_a_script_reads_the_meaning_beside_the_word() -> None:
    plain = json.loads(json.dumps(jobs_json(VIEW)))

    assert [
        (job["reason"], job["never_starts"], bool(job["meaning"])) for job in plain["alive"]
    ] == [
        ("Priority", False, True),
        ("Priority", False, True),
        ("PartitionTimeLimit", True, True),
        ("None", False, False),
        ("None", False, False),
        ("Quux", False, False),
    ]
    assert plain["alive"][0]["start"] == "2026-11-30T18:00:00"
    assert plain["ended"][0]["meaning"] == (
        "the batch script ended with exit status 3: read the pilot's log"
    )
