"""Pages of the documentation, followed word for word in an empty folder, lead where they say.

The tutorial is followed in test_packaging.py, docs/own-model.md in test_own_model.py.
"""

from pathlib import Path

import pytest

from tests.pages import ROOT, follow


@pytest.mark.slow
def test_the_page_on_study_files(tmp_path: Path) -> None:
    printed = follow(ROOT / "docs" / "studies.md", tmp_path)

    assert "mine_long: " in printed
    assert (tmp_path / "simulation.png").stat().st_size > 10_000
    assert {path.name for path in (tmp_path / "wconv_runs").iterdir() if path.is_dir()} >= {
        "mine",
        "mine_long",
        "dncnn_5x5_smoke",
    }


@pytest.mark.slow
def test_the_page_on_clusters(tmp_path: Path) -> None:
    printed = follow(ROOT / "docs" / "clusters.md", tmp_path)

    assert "jean_zay" in printed
    assert "✓" in printed
    assert "✗" not in printed
    for name in ("cluster.schema.json", "study.schema.json"):
        assert '"$schema"' in (tmp_path / name).read_text("utf-8")
