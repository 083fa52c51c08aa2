"""A password that stands in the environment is seen nowhere else while a study runs."""

import logging
import os
import pickle
import stat
import subprocess
import sys
import time
import traceback
from pathlib import Path

import optuna
import pytest

from tests.sweep.postgres import Server
from tests.sweep.tiny import StudyFile
from wconv_sweep.errors import StorageError
from wconv_sweep.storage.credentials import FILE_NAME
from wconv_sweep.storage.open_storage import Storage, choose_url, create_storage, open_storage
from wconv_sweep.storage.optuna_client import close_client, optuna_client


def url_with_password(server: Server, database: str | None) -> str:
    url = server.url(database or "").difference_update_query(["passfile"])
    return url.set(password=server.password).render_as_string(hide_password=False)


@pytest.fixture
def secret_storage(postgres: Server, tmp_path: Path) -> Storage:
    text = url_with_password(postgres, postgres.database().database)
    return create_storage(choose_url(None, tmp_path, {"WCONV_SWEEP_STORAGE": text}))


@pytest.mark.slow
def test_no_object_shows_it_or_carries_it_along(
    postgres: Server, secret_storage: Storage, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    client = optuna_client(secret_storage)
    study = optuna.create_study(study_name="seen", storage=client)
    study.ask()
    shown = [
        *(repr(secret_storage), secret_storage.name, secret_storage.optuna_url()),
        *(repr(secret_storage.url), repr(client.engine), repr(client.engine.url), repr(study)),
        *(str(vars(client)), str(secret_storage.optuna_arguments)),
    ]
    pickled = [pickle.dumps(what) for what in (client, secret_storage.url, study)]
    close_client(client, secret_storage)
    secret_storage.close()

    assert [text for text in (*shown, caplog.text) if postgres.secret in text] == []
    assert [each for each in pickled if postgres.secret.encode() in each] == []


@pytest.mark.slow
def test_no_error_shows_it(postgres: Server, secret_storage: Storage) -> None:
    secret_storage.close()
    for wrong in (
        secret_storage.url.set(database="nowhere"),
        secret_storage.url.set(port=1),
        secret_storage.url.set(username="nobody"),
        secret_storage.url.update_query_dict({"nonsense": "1"}),
    ):
        with pytest.raises(Exception, match=r"\S") as caught:
            open_storage(wrong)
        assert postgres.secret not in "".join(traceback.format_exception(caught.value))
    with pytest.raises(StorageError) as refused:
        choose_url(url_with_password(postgres, "db"), Path("/nowhere"), {})
    assert postgres.secret not in "".join(traceback.format_exception(refused.value))


@pytest.mark.slow
def test_nobody_sees_it_while_a_study_runs(
    postgres: Server, study_file: StudyFile, tmp_path: Path
) -> None:
    url = url_with_password(postgres, postgres.database().database)
    environment = os.environ | {"WCONV_SWEEP_STORAGE": url}
    command = [sys.executable, "-m", "wconv_sweep"]
    launch = ["launch", "--cluster", "local", "--study", str(study_file())]
    launched, command_lines = tmp_path / "launched", set()

    with launched.open("w") as output:
        process = subprocess.Popen(
            [*command, *launch], cwd=tmp_path, env=environment, stdout=output, stderr=output
        )
        while process.poll() is None:
            command_lines |= _command_lines()
            time.sleep(0.05)
    outputs = [launched.read_text("utf-8")]
    for arguments in (["status", "--study", "tiny"], ["export"], ["status", "--study", "other"]):
        done = subprocess.run(
            [*command, *arguments], cwd=tmp_path, env=environment, capture_output=True, text=True
        )
        outputs.append(done.stdout + done.stderr)

    secret = postgres.secret.encode()
    files = [path for path in (tmp_path / "wconv_runs").rglob("*") if path.is_file()]
    holding = [path for path in files if secret in path.read_bytes()]
    assert process.returncode == 0, outputs[0]
    assert "best" in outputs[1]
    assert holding == [tmp_path / "wconv_runs" / FILE_NAME]
    assert stat.S_IMODE(holding[0].stat().st_mode) == 0o600
    assert any(b"submitit" in line for line in command_lines)
    assert [line for line in command_lines if secret in line] == []
    assert [text for text in outputs if postgres.secret in text] == []
    assert len(files) > 5


def _command_lines() -> set[bytes]:
    lines = set()
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            lines.add(path.read_bytes())
        except OSError:
            continue  # it has ended
    return lines
