"""The model card of an exported network: what it is, how it was trained, how to load it."""

from collections.abc import Iterator, Mapping, Sequence

from wconv_jobs.own_code import is_own
from wconv_sweep.amounts import with_settings
from wconv_sweep.evidence.results import StudyResult, TrialRow
from wconv_sweep.evidence.study_status import StudyStatus
from wconv_sweep.results.export.entries import claim_of
from wconv_sweep.storage.tables import Stage
from wconv_sweep.study.definition_text import recipe_text, sites_text
from wconv_sweep.study.point import Settings
from wconv_sweep.study.trial_spec import config_at

_LOAD = """\
```python
import json

from safetensors import safe_open
from safetensors.torch import load_file
{imports}

with safe_open("model.safetensors", "pt") as file:
    definition = json.loads(file.metadata()["model"])
network = {network}
network.load_state_dict(load_file("model.safetensors"))
network.eval()
```
"""


def model_card(
    status: StudyStatus,
    result: StudyResult,
    reproduced: Mapping[str, float],
    pictures: Sequence[str],
) -> str:
    """Return the card as Markdown.

    Args:
        status: of the study.
        result: the run that the network is of, and that of plain convolution.
        reproduced: the test metrics, computed from the written file.
        pictures: files beside the card: before, after and truth.
    """
    best, plain = result.best, result.plain
    config = status.config if best.point is None else config_at(status.config, best.point)
    density = ", ".join(f"{value:.6g}" for value in best.density or ())
    lines = [
        f"# {config.model.name} of study {config.study}",
        "",
        f"Trained with weighted convolutions of size {config.kernel_size}, density ({density}), "
        "outermost first ([arXiv:2505.24558](https://arxiv.org/abs/2505.24558)), and folded into "
        "stock convolutions: V = W * Phi. The density costs nothing: these are plain layers "
        "with plain weights.",
        "",
        "## Scores on the test set",
        "",
        f"| metric | this file | recorded when it was trained | {plain_heading(result)} |",
        "|---|---|---|---|",
    ]
    for name, value in reproduced.items():
        recorded = number_text(best.metrics.get(name))
        other = number_text(plain.metrics.get(name) if plain else None)
        lines.append(f"| {name} | {value:.6g} | {recorded} | {other} |")
    lines += [
        "",
        one_run(status, result),
        "",
        "## How it was trained",
        "",
        f"* network: `{config.model.name}` `{config.model.options}`",
        f"* data: `{config.data.name}` `{config.data.options}`",
        f"* convolutions that the density scales: {sites_text(config)}",
        f"* recipe {recipe_text(config)}",
        *settings_lines(result),
        *origin_lines(status, best),
        "",
        "## Load it",
        "",
        *_how_to_load(config.model.name),
    ]
    if pictures:
        lines += ["## Before, after, truth", "", *(f"![{name}]({name})" for name in pictures), ""]
    return "\n".join(lines)


def one_run(status: StudyStatus, result: StudyResult) -> str:
    best = result.best
    return (
        f"One training run (trial {best.trial}, seed {status.config.seed}, seed index "
        f"{best.replicate}), {_choice(status, result)}. One run says little: what may be claimed "
        f"of the density is `{claim_of(status)}`."
    )


def settings_lines(result: StudyResult) -> Iterator[str]:
    """Yield what was searched together with the density, and what plain convolution had of it."""
    best, plain = result.best.point, result.plain.point if result.plain else None
    if best is not None and best.settings:
        yield f"* searched with the density: {_listed(best.settings)}"
    if plain is not None and plain.settings:
        yield f"* plain convolution beside it: {_listed(plain.settings)}"


def origin_lines(status: StudyStatus, best: TrialRow) -> Iterator[str]:
    yield f"* wconv-sweep {status.version}, definition {status.config.digest()[:16]}"
    for key, value in sorted(best.provenance.items()):
        if _plain(value):
            yield f"* {key}: {value}"


def plain_heading(result: StudyResult) -> str:
    plain = result.plain
    if plain is None:
        return "plain convolution, not completed"
    same = plain.replicate == result.best.replicate
    return f"plain convolution, {'same seed' if same else f'seed index {plain.replicate}'}"


def _choice(status: StudyStatus, result: StudyResult) -> str:
    """Return why this run was selected."""
    best, plain = result.best, result.plain
    if best.stage != Stage.CONFIRM:
        return f"chosen by `{status.config.objective.metric}` of the validation set"
    if plain is not None and plain.replicate == best.replicate:
        return "the first fresh seed completed by both the confirmed density and plain convolution"
    return "the first fresh seed completed by the confirmed density"


def _how_to_load(name: str) -> Iterator[str]:
    if not is_own(name):
        imports = "from wconv_jobs.models import build_model as build"
        network = 'build(definition["name"], **definition["options"])'
    else:
        module, _, function = name.partition(":")
        yield (
            f"`{module}` is the study's own module. Run this where Python finds it: beside a copy "
            "of it, or with its folder in `PYTHONPATH`."
        )
        yield ""
        # Under a name of ours: theirs may be one that the lines below need, such as `json`.
        imports = f"from {module} import {function} as build"
        network = 'build(**definition["options"])'
    yield _LOAD.format(imports=imports, network=network)


def number_text(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"


def _listed(settings: Settings) -> str:
    return with_settings(settings).removeprefix(", ")


def _plain(value: object) -> bool:
    return isinstance(value, str | int | float | bool)
