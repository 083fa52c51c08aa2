"""A copy of the package that the catalog reads instead, for a test to add a file to."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

from wconv_jobs import catalog


@contextmanager
def catalog_copy(folder: Path) -> Iterator[Path]:
    """Give the copy of `wconv_jobs`, whose networks, data sets and metrics are the known ones."""
    copied = folder / "wconv_jobs"
    shutil.copytree(Path(catalog.__file__).parent, copied)
    with patch.object(catalog, "__file__", str(copied / "catalog.py")):
        _forget()
        try:
            yield copied
        finally:
            _forget()


def _forget() -> None:
    for cached in (catalog.names, catalog.metric_facts, catalog._tree, catalog._options):
        cached.cache_clear()
