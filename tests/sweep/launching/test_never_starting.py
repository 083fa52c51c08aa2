"""Pilots that a site would take and never start are told before or right after a submission."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.sweep.profiles import profile
from tests.sweep.sites import CPU, LARGE, SITE, association, qos
from wconv_sweep.clusters.pilot_request import PilotRequest, resolve_request
from wconv_sweep.launching.slurm.never_starting import never_starting
from wconv_sweep.launching.slurm.pilots import SlurmPilots
from wconv_sweep.launching.slurm.submission import Submission
from wconv_sweep.run_folder import RunFolder
from wconv_sweep.slurm.job import JobState, SlurmJob
from wconv_sweep.slurm.site import Site

ACCOUNT = replace(association("mine"), default=True)


def site(**normal: Any) -> Site:
    """Return a site whose QOS `normal` has limits."""
    return replace(
        SITE,
        partitions=(replace(CPU, default=True), LARGE),
        associations=(ACCOUNT,),
        qos=(replace(qos("normal"), **normal), qos("long")),
    )


SLOW = replace(site(), partitions=(LARGE, replace(LARGE, name="slow", max_time_min=None)))


def reasons(at: Site, **request: Any) -> str:
    found = profile(partition={"default": "large"})
    shape = resolve_request(found, PilotRequest(**request), {})
    return " ".join(never_starting(found, shape, at))


@pytest.mark.parametrize(
    ("at", "request_", "words"),
    [
        (site(), {"walltime_min": 2880}, "2880 min are more than the 1440 min that partition"),
        (
            site(),
            {"partition": "large,cpu", "walltime_min": 2880},
            "1440 min that partition cpu allows",
        ),
        (site(max_wall_min=10), {"walltime_min": 60}, "the 10 min that QOS normal allows"),
        (site(max_nodes=2), {"nodes": 3}, "--nodes 3: QOS normal allows 2"),
        (site(min_nodes=2), {"nodes": 1}, "QOS normal takes jobs of 2 nodes or more"),
        (site(max_gpus_per_user=2), {}, "1 x 4 GPUs: QOS normal allows 2"),
        (
            replace(site(), associations=(replace(ACCOUNT, max_wall_min=30),)),
            {"walltime_min": 60},
            "the 30 min that QOS normal allows",
        ),
    ],
)
def test_what_is_beyond_the_limits_of_the_site_never_starts(
    at: Site, request_: dict[str, Any], words: str
) -> None:
    assert words in reasons(at, **request_)


@pytest.mark.parametrize(
    ("at", "request_"),
    [
        (site(max_wall_min=60, max_nodes=2, max_gpus=8), {"walltime_min": 60, "nodes": 2}),
        # Fewer of them start, and none is kept from it.
        (site(max_submit_per_user=1, max_jobs_per_user=1), {"pilots": 3, "walltime_min": 60}),
        (site(max_wall_min=10), {"qos": "long", "walltime_min": 60}),
        (SLOW, {"partition": "large,slow", "walltime_min": 2880}),
        # The site would refuse it.
        (site(), {"partition": "nosuch", "walltime_min": 2880}),
    ],
)
def test_what_is_within_them_or_unknown_is_not_said_to_never_start(
    at: Site, request_: dict[str, Any]
) -> None:
    assert reasons(at, **request_) == ""


def test_a_launch_tells_of_earlier_pilots_that_can_never_start(tmp_path: Path) -> None:
    waiting = SlurmJob("7", "7", "0", JobState.PENDING, "PartitionTimeLimit", "", "", "")
    submission = Submission(2, 0, 2, never_start=(waiting,))

    notes = SlurmPilots("wconv-tiny-1", RunFolder(tmp_path), submission).notes()

    assert notes[1].startswith(
        "1 of the queued ones will never start, e.g. 7_0: PartitionTimeLimit: its time limit is "
        "longer than the partition allows"
    )
