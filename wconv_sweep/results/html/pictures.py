"""The figures of a study inside a page, for light and for dark screens."""

import base64
from dataclasses import dataclass

from wconv_sweep.amounts import density_text
from wconv_sweep.amounts import title as title_of
from wconv_sweep.evidence.study_status import StudyStatus
from wconv_sweep.results.export.entries import selected_density
from wconv_sweep.results.export.figures import figures_of
from wconv_sweep.results.html.dark import in_the_dark, transparent
from wconv_sweep.results.plots import render
from wconv_sweep.storage.open_storage import Storage

_SVG = "image/svg+xml"
_WIDE_INCHES = 8.0  # the others stand side by side
_CAPTIONS = {
    "density": "The density kernel: the factor of each weight",
    "response": "How the objective depends on what is searched",
    "parallel": "All trials: their parameters and their objective",
    "importance": "How important each parameter is",
    "learning_curves": "Learning curves",
    "cost": "Cost of the search",
    "confusion": "Confusion matrix",
}


@dataclass(frozen=True)
class Picture:
    """A figure with its data embedded."""

    name: str
    caption: str
    alt: str
    """Alternative text."""
    is_wide: bool
    """Whether it needs the whole width of the page."""
    light: str
    dark: str


def pictures_of(storage: Storage, status: StudyStatus) -> list[Picture]:
    """Return the figures of a study; none before a trial has completed."""
    result = status.result
    if result is None:
        return []
    metric = title_of(status.config.objective.metric)
    selected = density_text(selected_density(status, result))
    alts = {
        "density": f"Heat map of Phi for the density {selected}; a factor of 1 is plain "
        "convolution.",
        "response": _response_alt(status, metric, selected),
        "parallel": f"A line for each trial of plain and of weighted convolution, through its "
        f"parameters to its {metric} of the validation set.",
        "importance": "A bar for each parameter, of plain and of weighted convolution.",
        "learning_curves": f"{metric} of the validation set after each epoch, of all trials; "
        "the best single run and plain convolution stand out.",
        "cost": f"The best {metric} of the validation set so far against the cost, beside "
        "plain convolution.",
        "confusion": "For each true class of the test set, the share of each predicted class.",
    }
    return [
        Picture(
            name=name,
            caption=_CAPTIONS[name],
            alt=alts[name],
            is_wide=figure.get_figwidth() > _WIDE_INCHES,
            light=data_uri(render(transparent(figure), "svg"), _SVG),
            dark=data_uri(render(in_the_dark(figure), "svg"), _SVG),
        )
        for name, figure in figures_of(storage, status).items()
    ]


def _response_alt(status: StudyStatus, metric: str, selected: str) -> str:
    if status.config.search.also:
        return (
            f"{metric} of the validation set against each coefficient of the density and each "
            "further key: maps for weighted convolution, curves for plain convolution."
        )
    return (
        f"{metric} of the validation set against the density, with the Gaussian process of all "
        f"trials, plain convolution, and the selected density, {selected}."
    )


def data_uri(content: bytes, kind: str) -> str:
    """Return a file as a data URL.

    Args:
        content: of the file.
        kind: its media type.
    """
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
