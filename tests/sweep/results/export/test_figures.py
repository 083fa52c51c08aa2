"""The pictures of `export --plots` are those that the files of a study have something for."""

from pathlib import Path

import pytest

from tests.sweep.nobody import as_nobody
from tests.sweep.searching import launched, study_of
from wconv_jobs.spec import CONFUSION_FILE
from wconv_sweep.evidence.study_status import read_status
from wconv_sweep.results.export.entries import selected_result
from wconv_sweep.results.export.figures import figures_of
from wconv_sweep.storage.open_storage import Storage


def pictures(storage: Storage) -> set[str]:
    return set(figures_of(storage, read_status(storage, "tiny")))


@pytest.fixture
def confusion(sqlite_storage: Storage) -> Path:
    """Where the only trial of a study may keep its confusion matrix."""
    searcher = launched(sqlite_storage, study_of({"name": "random"}, trials=3))
    searcher.train(searcher.lease())
    status = read_status(sqlite_storage, "tiny")
    result = selected_result(status)
    assert result is not None
    assert result.best.trial is not None
    path = status.folder.trial(result.best.trial) / CONFUSION_FILE
    path.parent.mkdir(parents=True)
    return path


def test_a_confusion_matrix_that_a_trial_has_kept_is_drawn(
    sqlite_storage: Storage, confusion: Path
) -> None:
    without = pictures(sqlite_storage)
    confusion.write_text("8,2\n1,9\n", "utf-8")

    assert pictures(sqlite_storage) - without == {"confusion"}


@pytest.mark.parametrize(
    "content",
    [b"", b"\n", b"8,2\n1", b"8,2\n", b"a,b\nc,d\n", b"\xff\xfe", b"9" * 30 + b"\n"],
    ids=["empty", "blank", "torn line", "torn matrix", "no numbers", "no text", "no count"],
)
def test_a_file_that_holds_no_confusion_matrix_gives_no_picture_and_no_traceback(
    sqlite_storage: Storage, confusion: Path, content: bytes
) -> None:
    confusion.write_bytes(content)

    assert "confusion" not in pictures(sqlite_storage)


def test_a_folder_that_a_colleague_may_not_read_gives_no_picture_and_no_traceback(
    sqlite_storage: Storage, confusion: Path
) -> None:
    confusion.write_text("8,2\n1,9\n", "utf-8")
    assert "confusion" in pictures(sqlite_storage)
    confusion.parent.chmod(0o700)

    with as_nobody():
        found = pictures(sqlite_storage)

    assert "confusion" not in found
    assert "density" in found
