"""The pictures of the documentation can be made again."""

from pathlib import Path

import pytest
from PIL import Image

from tests.screenshots import take
from tests.sweep.results.test_dashboard import write_study
from wconv_sweep.study.config import StudyConfig

pytestmark = pytest.mark.slow


def test_every_picture_shows_something(tmp_path: Path, tiny_config: StudyConfig) -> None:
    write_study(tmp_path / "wconv_runs", tiny_config)

    take(tmp_path, tmp_path / "images", "tiny")

    pictures = sorted((tmp_path / "images").glob("*.png"))
    assert [path.stem for path in pictures] == [
        "dashboard",
        "report",
        "report_dark",
        "report_phone",
        "result",
    ]
    for path in pictures:
        with Image.open(path) as picture:
            colors = picture.convert("L").getcolors()
        assert colors is not None
        assert len(colors) > 10, path.name
