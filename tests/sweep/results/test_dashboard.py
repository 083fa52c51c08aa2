"""The Optuna dashboard, served on the storage of a study."""

import json
import re
import signal
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.browser import text_of_page
from tests.sweep.postgres import Server
from tests.sweep.tiny import Sweep
from wconv_sweep.errors import ConfigurationError
from wconv_sweep.evidence.study_status import read_status
from wconv_sweep.results.dashboard import page_server, serve, tunnel
from wconv_sweep.run_folder import RunFolder
from wconv_sweep.slots.studies import create_or_extend
from wconv_sweep.slots.table import Lease, SlotTable
from wconv_sweep.storage.open_storage import Storage, choose_url, create_storage
from wconv_sweep.study.config import StudyConfig


@pytest.fixture
def sweep(started_sweep: Sweep) -> Sweep:
    """Return the command as users start it."""
    return started_sweep


def write_study(runs: Path, config: StudyConfig) -> None:
    storage = create_storage(choose_url(None, runs, {}))
    create_or_extend(storage, config, RunFolder.of(storage.folder, "tiny"), "local")
    slots = SlotTable(storage, config, lease_s=60)
    lease = slots.lease("node/pilot-0/1")
    assert isinstance(lease, Lease)
    slots.report(lease, 1, 28.25, {"psnr_db": 28.25})
    slots.complete(lease, {"test_psnr_db": 27.5}, {"torch": "2"})
    storage.close()


@contextmanager
def served(sweep: Sweep, *options: str) -> Iterator[str]:
    """Run the command and give the page's URL."""
    with sweep.start("dashboard", *options) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        found = re.match(r"Optuna dashboard: (http://127\.0\.0\.1:\d+/) \(Ctrl-C ends it\)", line)
        assert found, line
        assert process.stdout.readline().startswith("From another machine: ssh -N -L ")
        try:
            yield found[1]
        finally:
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=60)
    assert process.returncode == 0


def deletion(page: str) -> urllib.request.Request:
    return urllib.request.Request(page + "api/studies/1", method="DELETE")


@pytest.mark.slow
def test_the_dashboard_shows_the_study_with_its_trials(
    sweep: Sweep, tiny_config: StudyConfig
) -> None:
    write_study(sweep.folder / "wconv_runs", tiny_config)

    with served(sweep) as page:
        html = urllib.request.urlopen(page + "dashboard").read().decode()
        studies = json.load(urllib.request.urlopen(page + "api/studies"))
        (summary,) = studies["study_summaries"]
        url = f"{page}api/studies/{summary['study_id']}?after=0"
        study = json.load(urllib.request.urlopen(url))
        with pytest.raises(urllib.error.HTTPError, match="405") as refused:
            urllib.request.urlopen(deletion(page))
        refused.value.close()

    assert "<title>Optuna Dashboard</title>" in html
    assert summary["study_name"] == "tiny"
    (trial,) = study["trials"]
    assert trial["values"] == [28.25]
    assert trial["params"][0]["name"] == "density_1"
    attributes = {each["key"]: each["value"] for each in trial["user_attrs"]}
    assert attributes.keys() >= {"label", "stage", "seed_index", "seed", "test_psnr_db", "torch"}
    assert attributes["label"] == "plain"
    assert "density_1" in study["note"]["body"]
    assert "arxiv.org/abs/2505.24558" in study["note"]["body"]


@pytest.mark.slow
def test_a_browser_shows_the_best_value_and_every_trial_of_the_database(
    sweep: Sweep, tiny_config: StudyConfig
) -> None:
    write_study(sweep.folder / "wconv_runs", tiny_config)
    opened = create_storage(choose_url(None, sweep.folder / "wconv_runs", {}))
    status = read_status(opened, "tiny")
    opened.close()

    with served(sweep) as page:
        text = text_of_page(f"{page}dashboard/studies/1", sweep.folder)
        trials = text_of_page(f"{page}dashboard/studies/1/trials", sweep.folder)
        note = text_of_page(f"{page}dashboard/studies/1/note", sweep.folder)

    assert status.result is not None
    assert "Best Trial (number=0)" in text
    assert f"| {status.result.best.value} |" in text
    assert "Params = [density_1: 1.0]" in text
    begun = sum(row.trial is not None for row in status.trials)
    assert len(set(re.findall(r"Trial (\d+) ", trials))) == begun == 1
    assert "maximize | psnr_db | of the validation set" in note


@pytest.mark.slow
def test_a_writable_dashboard_is_there_for_those_who_ask(
    sweep: Sweep, tiny_config: StudyConfig
) -> None:
    write_study(sweep.folder / "wconv_runs", tiny_config)

    with served(sweep, "--writable") as page:
        assert urllib.request.urlopen(deletion(page)).status == 204


@pytest.mark.slow
def test_requests_wait_for_each_other_and_not_for_a_connection(
    postgres: Server, tiny_config: StudyConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = create_storage(postgres.database())
    create_or_extend(storage, tiny_config, RunFolder.of(tmp_path, "tiny"), "local")
    # Whoever would wait for a connection fails at once, and not only after 30 seconds.
    monkeypatch.setattr(storage.engine_for_optuna.pool, "_timeout", 0)  # type: ignore[union-attr]
    answers: list[int] = []

    def ask(page: str) -> None:
        with suppress(urllib.error.HTTPError), urllib.request.urlopen(page) as answer:
            answers.append(answer.status)

    with page_server(storage, None) as server, postgres.connect(storage.url.database) as other:
        page = f"http://127.0.0.1:{server.server_port}/api/studies/1"
        other.execute("BEGIN; LOCK TABLE trials")
        visitors = [threading.Thread(target=ask, args=[page]) for _ in range(6)]
        for thread in (threading.Thread(target=server.serve_forever), *visitors):
            thread.start()
        while _waiting(postgres) < 2:
            pass
        other.execute("COMMIT")
        for visitor in visitors:
            visitor.join()
        server.shutdown()
    storage.close()

    assert answers == [200] * 6


def _waiting(server: Server) -> int:
    """Return how many sessions wait for the lock of a table."""
    query = "SELECT count(*) FROM pg_locks WHERE locktype = 'relation' AND NOT granted"
    with server.connect() as connection:
        row = connection.execute(query).fetchone()
    assert row is not None
    return int(row[0])


def test_a_port_that_is_taken_is_named_and_another_one_found(storage: Storage) -> None:
    pages: list[str] = []

    def taken(page: str) -> None:
        port = int(page.rsplit(":", 1)[1].strip("/"))
        pages.append(page)
        if len(pages) == 1:
            with pytest.raises(ConfigurationError, match=rf"--port {port}: cannot be opened: Add"):
                serve(storage, port, lambda _: None)
            serve(storage, None, taken)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        serve(storage, None, taken)
    assert len(set(pages)) == 2


def test_the_ssh_line_leads_to_the_port_of_the_page() -> None:
    line = tunnel("http://127.0.0.1:8123/")

    assert re.fullmatch(r"ssh -N -L 8123:127\.0\.0\.1:8123 \S+@\S+", line)
