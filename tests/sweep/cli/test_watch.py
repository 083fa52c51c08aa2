"""`status --watch` shows a study until it has ended, also while the database is away."""

import fcntl
import json
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console
from rich.live import Live

from tests.sweep.postgres import OwnServer
from tests.sweep.tiny import Sweep
from wconv_jobs.messages import Broken
from wconv_sweep.cli.progress import progress
from wconv_sweep.cli.watch import Picture, _is_due, _Terminal, screen_of
from wconv_sweep.evidence.overview import read_overviews
from wconv_sweep.evidence.pilot_use import Agents
from wconv_sweep.evidence.study_status import read_status
from wconv_sweep.run_folder import RunFolder
from wconv_sweep.slots.studies import create_or_extend, stop
from wconv_sweep.slots.table import Lease, SlotTable
from wconv_sweep.storage.open_storage import Storage, create_storage
from wconv_sweep.storage.tables import StudyState
from wconv_sweep.study.config import StudyConfig
from wconv_sweep.study.point import Point

pytestmark = pytest.mark.slow

FRAMES = "".join(f'  File "net.py", line {number}, in forward\n' for number in range(30))
TRACEBACK = f"Traceback (most recent call last):\n{FRAMES}ShapeError: no such shape"
CONTROL = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")


class Study:
    """A study that the test itself works on."""

    def __init__(self, storage: Storage, config: StudyConfig) -> None:
        create_or_extend(storage, config, RunFolder.of(storage.folder, "tiny"), "local")
        self._slots = SlotTable(storage, config, lease_s=600)
        self._config = config

    def begin(self, value: float) -> Lease:
        """Train an epoch of the next trial."""
        lease = self._slots.lease("node/1")
        assert isinstance(lease, Lease)
        if lease.point is None:
            self._slots.set_point(lease, Point((0.75,)))
        self._slots.report(lease, 1, value, {"psnr_db": value})
        return lease

    def break_(self, lease: Lease, *, final: bool = False) -> None:
        """Let it fail; for good, that breaks the whole study."""
        broken = Broken(
            rank=0,
            error="ShapeError",
            reason="no such shape",
            where="net.py:7",
            traceback=TRACEBACK,
            final=final,
        )
        self._slots.break_(lease, broken)

    def end(self, lease: Lease) -> None:
        """Train the other one."""
        self._slots.report(lease, 2, 30.0, {"psnr_db": 30.0})
        self._slots.complete(lease, {"test_psnr_db": 29.0}, {})


class Watcher:
    """The command on a terminal of 80 columns, or with its output in a pipe."""

    def __init__(
        self, sweep: Sweep, storage: Storage, *more: str, terminal: bool, lines: int
    ) -> None:
        self.text = ""
        ours, theirs = pty.openpty() if terminal else os.pipe()
        if terminal:
            fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", lines, 80, 0, 0))
        words = ["status", "--watch", "--study", "tiny", "--storage", storage.name, *more]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "wconv_sweep", *words],
            cwd=sweep.folder,
            env=_environment(),
            stdin=subprocess.DEVNULL,
            stdout=theirs,
            stderr=theirs if terminal else subprocess.PIPE,
            start_new_session=True,
        )
        os.close(theirs)
        self._reader = threading.Thread(target=self._read, args=(ours,), daemon=True)
        self._reader.start()

    def await_text(self, text: str, after: str | None = None) -> None:
        """Wait until the command has printed something, if need be after something else."""
        deadline = time.monotonic() + 60
        while text not in (self.text if after is None else self.text.rpartition(after)[2]):
            assert time.monotonic() < deadline, self.text
            threading.Event().wait(0.05)

    def end(self) -> str:
        """Wait for its end, which must be one without an error, and return what it printed."""
        status = self.process.wait(60)
        self._reader.join(60)
        errors = self.process.stderr.read().decode() if self.process.stderr else ""
        assert (status, errors) == (0, ""), self.text
        return self.text

    def _read(self, ours: int) -> None:
        with open(ours, "rb", buffering=0) as stream:
            try:
                while part := stream.read(65536):
                    self.text += part.decode()
            except OSError:
                return  # how a terminal ends


def _environment() -> dict[str, str]:
    left_out = ("COLUMNS", "LINES", "WCONV_SWEEP_STORAGE", "OPTUNA_STORAGE")
    return {name: text for name, text in os.environ.items() if name not in left_out} | {
        "TERM": "xterm-256color",
        "PYTHONIOENCODING": "utf-8",
    }


@pytest.fixture
def watch(sweep: Sweep) -> Iterator[Callable[..., Watcher]]:
    watchers: list[Watcher] = []

    def start(storage: Storage, *more: str, terminal: bool = False, lines: int = 24) -> Watcher:
        watchers.append(Watcher(sweep, storage, *more, terminal=terminal, lines=lines))
        return watchers[-1]

    yield start
    for watcher in watchers:
        if watcher.process.poll() is None:
            watcher.process.kill()
            watcher.process.wait()
        if watcher.process.stderr:
            watcher.process.stderr.close()


def test_without_a_terminal_each_change_is_a_line_and_the_end_of_the_study_ends_it(
    watch: Callable[..., Watcher], sqlite_storage: Storage, tiny_config: StudyConfig
) -> None:
    study = Study(sqlite_storage, tiny_config)
    study.end(study.begin(28.0))
    watcher = watch(sqlite_storage)
    watcher.await_text("best so far: plain convolution (1) 30.00 dB")

    for trial in (1, 2):
        lease = study.begin(28.5)
        watcher.await_text(f"trial {trial}, density (0.75), epoch 1/2, PSNR 28.50 dB")
        study.end(lease)
    printed = watcher.end()

    assert "\x1b" not in printed
    assert "\r" not in printed
    lines = printed.splitlines()
    assert lines[0] == "tiny: waiting (2 open, 1 complete)"
    assert lines[-1] == "tiny: complete (3 complete)"
    assert lines.count("tiny: complete (3 complete)") == 1
    ends = [line for line in lines if "epoch 2/2, PSNR 30.00 dB, complete" in line]
    assert [line.partition("]")[0] for line in ends] == ["[2/3", "[3/3"]


def test_a_terminal_keeps_the_last_picture_while_the_database_is_away(
    watch: Callable[..., Watcher], own_postgres: OwnServer, tiny_config: StudyConfig
) -> None:
    storage = create_storage(own_postgres.database())
    study = Study(storage, tiny_config)
    lease = study.begin(28.0)
    watcher = watch(storage, terminal=True)
    watcher.await_text("1/2")

    own_postgres.stop("immediate")
    try:
        watcher.await_text("no connection to the database since")
        watcher.await_text("28.00 dB", after="no connection to the database")
        away = watcher.text[watcher.text.rindex("no connection to the database") :]
    finally:
        own_postgres.start()
    storage.close()
    study.end(lease)
    watcher.await_text("best so far")
    for _ in range(2):
        study.end(study.begin(28.0))
    printed = watcher.end()
    storage.close()

    assert "28.00 dB" in CONTROL.sub("", away)
    assert re.search(r"database since \d\d:\d\d:\d\d", CONTROL.sub("", away))
    last = CONTROL.sub("", printed.rpartition("tiny: ")[2])
    assert last.startswith("complete (3 complete)")
    assert "no connection" not in last
    widths = [len(line) for line in re.split(r"[\r\n]+", CONTROL.sub("", printed))]
    assert max(widths) <= 80


def last_picture(watcher: Watcher) -> str:
    return CONTROL.sub("", watcher.text[watcher.text.rindex("tiny: ") :])


def test_a_high_terminal_shows_the_first_traceback_of_each_failure(
    watch: Callable[..., Watcher], sqlite_storage: Storage, tiny_config: StudyConfig
) -> None:
    study = Study(sqlite_storage, tiny_config)
    study.end(study.begin(28.0))
    study.break_(study.begin(28.0))

    watcher = watch(sqlite_storage, terminal=True, lines=60)
    watcher.await_text("ShapeError: no such shape")

    picture = last_picture(watcher)
    assert picture.index("1 x ShapeError at net.py:7: no such shape") < picture.index("line 0,")
    assert picture.count(", in forward") == 30


def test_a_low_terminal_names_the_command_that_shows_the_traceback(
    watch: Callable[..., Watcher], sqlite_storage: Storage, tiny_config: StudyConfig
) -> None:
    study = Study(sqlite_storage, tiny_config)
    study.end(study.begin(28.0))
    study.break_(study.begin(28.0))

    watcher = watch(sqlite_storage, terminal=True, lines=24)
    watcher.await_text("tracebacks:")
    watcher.await_text("--storage")

    picture = last_picture(watcher)
    assert "1 x ShapeError at net.py:7: no such shape" in picture
    command = " ".join(picture[picture.index("tracebacks: ") :].split())
    assert command.startswith("tracebacks: wconv-sweep status --study tiny --storage sqlite:///")
    assert "in forward" not in picture


def test_a_low_terminal_leaves_out_running_trials_before_what_is_best_and_what_failed(
    watch: Callable[..., Watcher], sqlite_storage: Storage, tiny_config: StudyConfig
) -> None:
    have_many_at_work(sqlite_storage, tiny_config)

    watcher = watch(sqlite_storage, terminal=True, lines=24)
    watcher.await_text("tracebacks:")

    picture = last_picture(watcher)
    assert "22 more" in picture
    assert "best so far: plain convolution (1) 30.00 dB" in picture
    assert "1 x ShapeError at net.py:7: no such shape" in picture
    # Nothing was cut off, in place of which there would be three dots.
    assert not picture.rstrip().endswith("...")


def test_what_is_wrong_comes_first_and_studies_without_room_have_a_line_each(
    sqlite_storage: Storage, tiny_config: StudyConfig
) -> None:
    for number in range(10):
        name = f"tiny_{number}"
        study = Study(sqlite_storage, tiny_config.model_copy(update={"study": name}))
        study.end(study.begin(28.0))
        study.break_(study.begin(28.0))
    out = Console(file=StringIO(), force_terminal=True, width=80, height=14)

    with Live(console=out, auto_refresh=False) as live:
        screen = _Terminal(live, lambda name: f"wconv-sweep status --study {name}")
        screen.show(Picture(screen.read(sqlite_storage, None), [None] * 10))
        screen.away(0.0, "no route to host")
        drawn = out.render_lines(live.renderable, pad=False)

    lines = ["".join(segment.text for segment in line) for line in drawn]
    assert len(lines) <= 14
    assert lines[0].startswith("no connection to the database since ")
    assert [line for line in lines if line.startswith("tiny_")] == [
        f"tiny_{number}: waiting (2 open, 1 complete), 1 broken attempt(s)" for number in range(10)
    ]


def test_following_a_launch_fits_the_terminal(
    sqlite_storage: Storage, tiny_config: StudyConfig
) -> None:
    have_many_at_work(sqlite_storage, tiny_config)
    text = StringIO()
    out = Console(file=text, force_terminal=True, width=80, height=20)

    with progress(out) as show:
        show(read_status(sqlite_storage, "tiny"))

    assert "best so far: plain convolution (1) 30.00 dB" in text.getvalue()
    assert "1 x ShapeError at net.py:7: no such shape" in text.getvalue()


def test_slurm_is_asked_from_time_to_time_sooner_when_pilots_begin_and_at_the_end(
    sqlite_storage: Storage, tiny_config: StudyConfig
) -> None:
    Study(sqlite_storage, tiny_config)
    (waiting,) = read_overviews(sqlite_storage, None)
    begun = replace(waiting, agents=Agents(working=1, silent=0, ended=0))
    ended = replace(waiting, state=StudyState.STOPPED)
    before = Picture([waiting])

    assert not _is_due(before, before, 29.0)
    assert _is_due(before, before, 30.0)
    assert not _is_due(Picture([begun]), before, 4.0)
    assert _is_due(Picture([begun]), before, 5.0)
    assert _is_due(Picture([ended]), before, 0.0)
    assert _is_due(Picture([replace(waiting, uid="another")]), before, 0.0)


def test_without_a_terminal_all_trials_are_read_only_where_something_has_happened(
    sqlite_storage: Storage, tiny_config: StudyConfig
) -> None:
    study = Study(sqlite_storage, tiny_config)
    with screen_of(str, as_json=False) as screen:
        lease = study.begin(28.0)
        (first,) = screen.read(sqlite_storage, None)
        (same,) = screen.read(sqlite_storage, None)
        study.end(lease)
        (later,) = screen.read(sqlite_storage, None)

    assert same is first
    assert [row.state for row in later.trials] != [row.state for row in first.trials]


def test_the_last_picture_is_whole_however_low_the_terminal(
    watch: Callable[..., Watcher], sqlite_storage: Storage, tiny_config: StudyConfig
) -> None:
    study = Study(sqlite_storage, tiny_config)
    study.break_(study.begin(28.0), final=True)

    watcher = watch(sqlite_storage, terminal=True, lines=10)
    watcher.end()

    assert "tiny: broken" in CONTROL.sub("", watcher.text)
    assert last_picture(watcher).count(", in forward") == 30


def have_many_at_work(storage: Storage, config: StudyConfig) -> None:
    """Let one trial of a study have ended, one have failed, and 30 be running."""
    budget = config.budget.model_copy(update={"trials": 40})
    study = Study(storage, config.model_copy(update={"budget": budget}))
    study.end(study.begin(28.0))
    study.break_(study.begin(28.0))
    for _ in range(30):
        study.begin(28.0)


def test_without_a_terminal_the_absence_of_the_database_is_told_once(
    watch: Callable[..., Watcher], own_postgres: OwnServer, tiny_config: StudyConfig
) -> None:
    storage = create_storage(own_postgres.database())
    Study(storage, tiny_config)
    watcher = watch(storage)
    watcher.await_text("tiny: waiting")

    own_postgres.stop("immediate")
    try:
        watcher.await_text("no connection to the database since")
    finally:
        own_postgres.start()
    watcher.await_text("the database is back")
    storage.close()
    stop(storage, "tiny")
    printed = watcher.end()
    storage.close()

    assert printed.count("no connection to the database since") == 1
    assert printed.splitlines()[-1] == "tiny: stopped (3 open)"


@pytest.mark.parametrize("terminal", [True, False])
def test_ctrl_c_ends_it_as_wished(
    watch: Callable[..., Watcher],
    sqlite_storage: Storage,
    tiny_config: StudyConfig,
    terminal: bool,
) -> None:
    Study(sqlite_storage, tiny_config)
    watcher = watch(sqlite_storage, terminal=terminal)
    watcher.await_text("waiting")

    watcher.process.send_signal(signal.SIGINT)

    assert "Traceback" not in watcher.end()


def test_scripts_get_a_line_of_json_for_each_change(
    watch: Callable[..., Watcher], sqlite_storage: Storage, tiny_config: StudyConfig
) -> None:
    study = Study(sqlite_storage, tiny_config)
    lease = study.begin(28.0)
    watcher = watch(sqlite_storage, "--json")
    watcher.await_text('"running"')

    stop(sqlite_storage, "tiny")
    watcher.await_text('"stopping"')
    study.end(lease)
    states = [json.loads(line)[0]["state"] for line in watcher.end().splitlines()]

    assert states == ["running", "stopping", "stopped"]


def test_a_storage_without_the_study_is_a_plain_error(
    started_sweep: Sweep, tmp_path: Path
) -> None:
    errors = started_sweep.run(
        "status", "--watch", "--storage", f"sqlite:///{tmp_path}/no.db", status=2
    )

    assert "Traceback" not in errors
    assert "no.db" in errors
