"""Files that are replaced at once, whoever else writes them and whatever fails."""

import os
import subprocess
import sys
import threading
from pathlib import Path

from wconv_jobs.files.atomic import replace_file


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
    together = threading.Barrier(len(contents))
    failed: list[OSError] = []

    def write(content: bytes) -> None:
        for _ in range(50):
            together.wait(timeout=60)
            try:
                replace_file(path, content)
            except OSError as error:
                failed.append(error)

    threads = [threading.Thread(target=write, args=(content,)) for content in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert failed == []
    assert path.read_bytes() in contents
    assert os.listdir(tmp_path) == ["one"]


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
