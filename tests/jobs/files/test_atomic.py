"""Files that are replaced at once, whoever else writes them and whatever fails."""

import errno
import os
import signal
import stat
import subprocess
import sys
import threading
from functools import partial
from pathlib import Path

import pytest

from tests.together import failures_together
from wconv_jobs.files.atomic import create_folder_once, place_new, replace_file, replacing


def test_a_file_is_written_and_replaced_with_nothing_beside_it(tmp_path: Path) -> None:
    replace_file(tmp_path / "one", b"first")
    replace_file(tmp_path / "one", b"second")

    assert (tmp_path / "one").read_bytes() == b"second"
    assert os.listdir(tmp_path) == ["one"]


def test_two_who_write_the_same_file_at_the_same_time_do_not_disturb_each_other(
    tmp_path: Path,
) -> None:
    path = tmp_path / "one"
    contents = [bytes([number]) * 10_000 for number in range(4)]

    failed = failures_together([partial(replace_file, path, content) for content in contents])

    assert failed == []
    assert path.read_bytes() in contents
    assert os.listdir(tmp_path) == ["one"]


@pytest.mark.parametrize("mode", [0o600, 0o640])
def test_a_file_has_its_mode_before_it_has_its_content(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "secret"
    path.touch(0o644)

    with replacing(path, mode=mode) as file:
        (unfinished,) = (each for each in tmp_path.iterdir() if each != path)
        before = stat.S_IMODE(unfinished.stat().st_mode)
        file.write(b"password")

    assert before == mode
    assert stat.S_IMODE(path.stat().st_mode) == mode
    assert path.read_bytes() == b"password"


def test_a_durable_file_and_its_name_are_on_the_disk_when_the_call_returns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[tuple[str, bool]] = []

    def record(descriptor: int) -> None:
        what = Path(os.readlink(f"/proc/self/fd/{descriptor}"))
        synced.append((what.name[:5], (tmp_path / "one").exists()))

    monkeypatch.setattr(os, "fsync", record)
    replace_file(tmp_path / "one", "content", durable=True)
    replace_file(tmp_path / "two", "content")

    assert synced == [(".one.", False), (tmp_path.name[:5], True)]


def test_a_text_is_written_as_utf_8(tmp_path: Path) -> None:
    replace_file(tmp_path / "one", "\N{GREEK SMALL LETTER PHI}\n")

    assert (tmp_path / "one").read_bytes() == b"\xcf\x86\n"


@pytest.mark.parametrize("hard_links", [True, False], ids=["hard links", "no hard links"])
def test_a_new_file_takes_no_name_that_another_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hard_links: bool
) -> None:
    (tmp_path / "mine").write_bytes(b"mine")
    (tmp_path / "theirs").write_bytes(b"theirs")
    if not hard_links:

        def refuse(*_: object) -> None:
            raise OSError(errno.EPERM, os.strerror(errno.EPERM))

        monkeypatch.setattr(os, "link", refuse)

    with pytest.raises(FileExistsError):
        place_new(tmp_path / "mine", tmp_path / "theirs")
    place_new(tmp_path / "mine", tmp_path / "new")

    assert (tmp_path / "theirs").read_bytes() == b"theirs"
    assert (tmp_path / "new").read_bytes() == b"mine"


def test_of_many_who_make_a_folder_one_wins_and_nothing_is_left(tmp_path: Path) -> None:
    folder = tmp_path / "parent" / "once"
    all_fill = threading.Barrier(4)

    def fill(number: int, unfinished: Path) -> None:
        (unfinished / "inside").mkdir()
        (unfinished / "inside" / "data").write_text(str(number))
        all_fill.wait(timeout=60)

    calls = [partial(create_folder_once, folder, partial(fill, number)) for number in range(4)]

    assert failures_together(calls) == []
    assert (folder / "inside" / "data").read_text() in "0123"
    assert os.listdir(tmp_path / "parent") == ["once"]


def test_what_is_in_the_way_of_a_folder_stays(tmp_path: Path) -> None:
    (tmp_path / "once").write_bytes(b"a file")

    with pytest.raises(FileExistsError):
        create_folder_once(tmp_path / "once", lambda unfinished: None)

    assert (tmp_path / "once").read_bytes() == b"a file"
    assert os.listdir(tmp_path) == ["once"]


def test_what_a_killed_process_left_of_a_folder_is_removed(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys; from pathlib import Path; "
        "from wconv_jobs.files.atomic import create_folder_once; "
        "create_folder_once(Path(sys.argv[1]), lambda _: os.kill(os.getpid(), signal.SIGKILL))"
    )
    killed = subprocess.run([sys.executable, "-c", code, str(tmp_path / "once")], check=False)
    left = len(os.listdir(tmp_path))

    create_folder_once(tmp_path / "once", lambda unfinished: (unfinished / "data").touch())

    assert (killed.returncode, left) == (-signal.SIGKILL, 1)
    assert os.listdir(tmp_path) == ["once"]


def test_a_write_that_fails_leaves_the_old_content_and_nothing_beside_it(tmp_path: Path) -> None:
    (tmp_path / "one").write_bytes(b"old")
    # A limit on the size of files fails in the middle of a write, like a full disk.
    code = (
        "import resource, signal, sys; from pathlib import Path; "
        "from wconv_jobs.files.atomic import replace_file; "
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000)); "
        "replace_file(Path(sys.argv[1]), bytes(2000))"
    )

    ended = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "one")],
        capture_output=True,
        text=True,
        check=False,
    )

    assert "File too large" in ended.stderr
    assert (tmp_path / "one").read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["one"]
