"""A page with everything about the studies of a storage: one file that needs no network.

Study files and databases may hold any text, so the template escapes all of it.
"""

from functools import cache
from importlib import resources
from typing import Any

from jinja2 import Environment, StrictUndefined, Template

from wconv_sweep.errors import StudyError
from wconv_sweep.evidence.study_status import read_status
from wconv_sweep.results.html.networks import networks_of
from wconv_sweep.results.html.pictures import pictures_of
from wconv_sweep.results.html.study import study_section
from wconv_sweep.results.report.comparison import compare
from wconv_sweep.results.report.notes import notes
from wconv_sweep.results.report.tables import tables
from wconv_sweep.storage.open_storage import Storage
from wconv_sweep.storage.study_lookup import study_names

TEMPLATE = "report.html.jinja"


def html_report(storage: Storage, study: str | None) -> str:
    """Return the page of one study, or of all; the same for the same content of the storage.

    It includes studies without a completed trial, with their failures.

    Raises:
        StudyError: there is no such study, or none at all.
    """
    names = [study] if study else study_names(storage)
    if not names:
        raise StudyError(
            f"{storage.name}: holds no study, so there is nothing to report. "
            "Run `wconv-sweep launch` first."
        )
    statuses = [read_status(storage, name) for name in names]
    statuses.sort(key=lambda status: status.result is None)  # studies with a result come first
    comparisons = compare(storage, statuses)
    content: dict[str, Any] = {
        "sections": [study_section(storage, status) for status in statuses],
        "pictures": {status.study: pictures_of(storage, status) for status in statuses},
        "networks": {status.study: networks_of(status) for status in statuses},
        "tables": tables(comparisons),
        "notes": notes(comparisons),
    }
    return _template().render(content)


@cache
def _template() -> Template:
    text = resources.files("wconv_sweep.results.html").joinpath(TEMPLATE).read_text("utf-8")
    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.from_string(text)
