"""The Optuna dashboard, served on the storage of a study."""

import json
import re
import signal
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from tests.sweep.tiny import Sweep
from wconv_sweep.dashboard import serve
from wconv_sweep.errors import ConfigurationError
from wconv_sweep.run_folder import RunFolder
from wconv_sweep.slots import Claim, SlotTable
from wconv_sweep.storage import Storage, choose_url, create_storage
from wconv_sweep.studies import create_or_extend
from wconv_sweep.study_config import StudyConfig


def write_study(runs: Path, config: StudyConfig) -> None:
    storage = create_storage(choose_url(None, runs, {}))
    create_or_extend(storage, config, RunFolder.of(storage.folder, "tiny"), "local")
    slots = SlotTable(storage, config, lease_s=60)
    claim = slots.claim("node/pilot-0/1")
    assert isinstance(claim, Claim)
    slots.report(claim, 1, 28.25, {"psnr_db": 28.25})
    slots.complete(claim, {"test_psnr_db": 27.5}, {"torch": "2"})
    storage.close()


@pytest.mark.slow
def test_the_dashboard_shows_the_study_with_its_trials(
    sweep: Sweep, tiny_config: StudyConfig
) -> None:
    write_study(sweep.folder / "wconv_runs", tiny_config)

    with sweep.start("dashboard", "--port", "0") as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        found = re.match(r"Optuna dashboard: (http://127\.0\.0\.1:\d+/) \(Ctrl-C ends it\)", line)
        assert found, line
        page = urllib.request.urlopen(found[1] + "dashboard").read().decode()
        studies = json.load(urllib.request.urlopen(found[1] + "api/studies"))
        (summary,) = studies["study_summaries"]
        url = f"{found[1]}api/studies/{summary['study_id']}?after=0"
        study = json.load(urllib.request.urlopen(url))
        deletion = urllib.request.Request(found[1] + "api/studies/1", method="DELETE")
        with pytest.raises(urllib.error.HTTPError, match="405") as refused:
            urllib.request.urlopen(deletion)
        refused.value.close()
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)

    assert "<title>Optuna Dashboard</title>" in page
    assert summary["study_name"] == "tiny"
    (trial,) = study["trials"]
    assert trial["values"] == [28.25]
    assert trial["params"][0]["name"] == "density_1"
    assert {"key": "label", "value": "plain"} in trial["user_attrs"]
    assert process.returncode == 0


def test_a_port_that_is_taken_is_named(storage: Storage) -> None:
    def taken(page: str) -> None:
        port = int(page.rsplit(":", 1)[1].strip("/"))
        with pytest.raises(ConfigurationError, match=rf"--port {port}: cannot be opened: Address"):
            serve(storage, port, lambda _: None)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        serve(storage, 0, taken)
