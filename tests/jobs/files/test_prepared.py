"""Prepared folders: made once, whole or not at all, whoever else makes them and whoever dies."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from wconv_jobs.errors import JobError
from wconv_jobs.files.prepared import make_once, read_index, write_file


def _write(unfinished: Path) -> dict[str, Any]:
    (unfinished / "data").write_bytes(b"1234")
    return {"made": True}


def _never(unfinished: Path) -> dict[str, Any]:
    raise AssertionError("it is there")


def test_a_folder_is_made_with_its_index_and_nothing_beside_it(tmp_path: Path) -> None:
    make_once(tmp_path / "cache" / "set-v1", _write, size_bytes=4)

    assert read_index(tmp_path / "cache" / "set-v1") == {"made": True}
    assert (tmp_path / "cache" / "set-v1" / "data").read_bytes() == b"1234"
    assert os.listdir(tmp_path / "cache") == ["set-v1"]


def test_a_folder_that_is_there_is_not_made_again(tmp_path: Path) -> None:
    make_once(tmp_path / "set-v1", _write, size_bytes=4)

    make_once(tmp_path / "set-v1", _never, size_bytes=2**62)


def test_there_is_no_index_before_the_folder_is_made(tmp_path: Path) -> None:
    assert read_index(tmp_path / "set-v1") is None


def test_a_failure_leaves_nothing(tmp_path: Path) -> None:
    def fail(unfinished: Path) -> dict[str, Any]:
        _write(unfinished)
        raise JobError("a damaged image")

    with pytest.raises(JobError, match="a damaged image"):
        make_once(tmp_path / "set-v1", fail, size_bytes=4)

    assert os.listdir(tmp_path) == []


def test_a_folder_made_by_another_meanwhile_is_kept(tmp_path: Path) -> None:
    def late(unfinished: Path) -> dict[str, Any]:
        make_once(tmp_path / "set-v1", _write, size_bytes=4)
        return {"made": "late"}

    make_once(tmp_path / "set-v1", late, size_bytes=4)

    assert read_index(tmp_path / "set-v1") == {"made": True}
    assert os.listdir(tmp_path) == ["set-v1"]


def test_what_is_in_the_way_is_named_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "set-v1").mkdir()
    (tmp_path / "set-v1" / "notes.txt").touch()

    with pytest.raises(JobError, match=r"set-v1: already exists but is not a prepared data set"):
        make_once(tmp_path / "set-v1", _write, size_bytes=4)

    assert os.listdir(tmp_path) == ["set-v1"]


def test_too_little_space_is_said_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(JobError) as raised:
        make_once(tmp_path / "set-v1", _never, size_bytes=2**60)

    assert str(raised.value).startswith(f"{tmp_path}: has ")
    assert "but the prepared data need 1152921504.6 GB. Free disk space, or choose" in str(
        raised.value
    )
    assert os.listdir(tmp_path) == []


def test_a_place_that_cannot_be_written_is_named_with_the_option(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(JobError) as raised:
        make_once(tmp_path / "file" / "set-v1", _write, size_bytes=4)

    assert str(raised.value) == (
        f"{tmp_path}/file/set-v1: cannot be written (File exists). Choose another folder with "
        "data.options.cache_folder."
    )


def test_an_index_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    make_once(tmp_path / "set-v1", _write, size_bytes=4)
    (tmp_path / "set-v1" / "index.json").write_text("{")

    with pytest.raises(JobError, match=r"set-v1: its index cannot be read .* Delete the folder"):
        read_index(tmp_path / "set-v1")


# Writes its process number, then waits until all have: all of them write at the same time.
_TOGETHER = """
import os, sys, time
from pathlib import Path
from wconv_jobs.files.prepared import make_once

here, processes = Path(sys.argv[1]), int(sys.argv[2])

def write(unfinished):
    (unfinished / "data").write_text(str(os.getpid()))
    (here / f"{os.getpid()}.ready").touch()
    deadline = time.monotonic() + 60
    while len(list(here.glob("*.ready"))) < processes:
        assert time.monotonic() < deadline
    return {"made_by": os.getpid()}

make_once(here / "cache" / "set-v1", write, size_bytes=10)
"""


def test_of_many_processes_one_makes_the_folder(tmp_path: Path) -> None:
    command = [sys.executable, "-c", _TOGETHER, str(tmp_path), "3"]
    processes = [subprocess.Popen(command) for _ in range(3)]

    statuses = [process.wait(timeout=90) for process in processes]

    index = read_index(tmp_path / "cache" / "set-v1")
    assert statuses == [0, 0, 0]
    assert index is not None
    assert (tmp_path / "cache" / "set-v1" / "data").read_text() == str(index["made_by"])
    assert os.listdir(tmp_path / "cache") == ["set-v1"]


_KILLED = """
import os, signal, sys
from pathlib import Path
from wconv_jobs.files.prepared import make_once

def write(unfinished):
    (unfinished / "data").write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)

make_once(Path(sys.argv[1]), write, size_bytes=10)
"""


def test_a_killed_process_leaves_nothing_that_is_taken_for_prepared(tmp_path: Path) -> None:
    killed = subprocess.run([sys.executable, "-c", _KILLED, str(tmp_path / "set-v1")], check=False)

    before = read_index(tmp_path / "set-v1")
    make_once(tmp_path / "set-v1", _write, size_bytes=4)

    assert killed.returncode == -signal.SIGKILL
    assert os.listdir(tmp_path) == ["set-v1"]
    assert before is None
    assert read_index(tmp_path / "set-v1") == {"made": True}


def test_a_file_is_written_once_with_its_folder(tmp_path: Path) -> None:
    write_file(tmp_path / "a" / "b", b"first")

    write_file(tmp_path / "a" / "b", b"second")

    assert (tmp_path / "a" / "b").read_bytes() == b"first"
    assert os.listdir(tmp_path / "a") == ["b"]


def test_a_file_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    # A limit on the size of files fails in the middle of a write, like a full disk.
    code = (
        "import resource, signal, sys; from pathlib import Path; "
        "from wconv_jobs.files.prepared import write_file; "
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000)); "
        "write_file(Path(sys.argv[1]), bytes(2000))"
    )

    ended = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "file")],
        capture_output=True,
        text=True,
        check=False,
    )

    assert "File too large" in ended.stderr
    assert os.listdir(tmp_path) == []


def test_preparing_does_not_import_torch_or_numpy() -> None:
    code = (
        "import sys, wconv_jobs.files.prepared; "
        "sys.exit(bool({'torch', 'numpy'} & set(sys.modules)))"
    )

    subprocess.run([sys.executable, "-c", code], check=True)
