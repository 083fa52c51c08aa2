"""Folders that a study names: absolute, or below a home folder."""

from pathlib import Path

import pytest

from wconv_jobs.errors import JobError
from wconv_jobs.files.paths import absolute_folder


def test_an_absolute_path_is_taken_as_it_is() -> None:
    assert absolute_folder("/data/images") == Path("/data/images")


def test_the_home_folder_may_be_abbreviated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/somebody")

    assert absolute_folder("~/images") == Path("/home/somebody/images")


def test_a_relative_path_is_refused_with_the_absolute_one() -> None:
    with pytest.raises(JobError, match=r"^images: is relative") as caught:
        absolute_folder("images")

    assert str(caught.value).endswith(f"Write {Path('images').absolute()}.")


def test_the_home_folder_of_nobody_is_refused() -> None:
    with pytest.raises(JobError, match=r"there is no such user\. Write an absolute path\."):
        absolute_folder("~nobody-of-this-name/images")
