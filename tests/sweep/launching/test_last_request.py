"""What a launch wanted is kept for `resume`, whoever else launches at the same time."""

import os
from functools import partial
from pathlib import Path

from tests.together import failures_together
from wconv_sweep.clusters.pilot_request import PilotRequest
from wconv_sweep.launching.last_request import last_request, or_else, save_request
from wconv_sweep.run_folder import RunFolder


def test_of_several_launches_at_once_each_is_kept_until_the_next(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.pilots.mkdir(parents=True)
    requests = [PilotRequest(pilots=number) for number in range(1, 5)]

    failed = failures_together([partial(save_request, folder, request) for request in requests])

    assert failed == []
    assert last_request(folder) in requests
    assert os.listdir(folder.pilots) == ["request.json"]


def test_a_resume_repeats_each_option_of_sbatch_that_it_does_not_change(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.pilots.mkdir(parents=True)
    launched = PilotRequest(
        qos="q", sbatch={"reservation": "course", "contiguous": True, "nice": "5"}
    )
    save_request(folder, launched)

    same = or_else(PilotRequest(), last_request(folder))
    changed = or_else(
        PilotRequest(qos="r", sbatch={"reservation": "", "nice": "7"}), last_request(folder)
    )
    save_request(folder, changed)

    assert same == launched
    assert last_request(folder) == PilotRequest(
        qos="r", sbatch={"reservation": "", "contiguous": True, "nice": "7"}
    )


def test_the_request_of_an_older_version_has_no_options_of_sbatch(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.pilots.mkdir(parents=True)
    (folder.pilots / "request.json").write_text('{"pilots": 2, "qos": null}', "utf-8")

    assert last_request(folder) == PilotRequest(pilots=2)
