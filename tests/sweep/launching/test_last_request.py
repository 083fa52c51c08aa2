"""What a launch wanted is kept for `resume`, whoever else launches at the same time."""

import os
from functools import partial
from pathlib import Path

from tests.together import failures_together
from wconv_sweep.clusters.pilot_request import PilotRequest
from wconv_sweep.launching.last_request import last_request, save_request
from wconv_sweep.run_folder import RunFolder


def test_of_several_launches_at_once_each_is_kept_until_the_next(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.pilots.mkdir(parents=True)
    requests = [PilotRequest(pilots=number) for number in range(1, 5)]

    failed = failures_together([partial(save_request, folder, request) for request in requests])

    assert failed == []
    assert last_request(folder) in requests
    assert os.listdir(folder.pilots) == ["request.json"]
