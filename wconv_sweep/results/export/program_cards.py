"""The model card of a network that a program of the user's has trained."""

from collections.abc import Mapping
from typing import Any

from wconv_sweep.evidence.results import StudyResult, TrialRow
from wconv_sweep.evidence.study_status import StudyStatus
from wconv_sweep.results.export.model_card import (
    number_text,
    one_run,
    origin_lines,
    plain_heading,
    settings_lines,
)
from wconv_sweep.study.trainer import WeightsSpec
from wconv_sweep.study.trial_spec import config_at


def given_card(status: StudyStatus, result: StudyResult, file: str) -> str:
    """Return the card of a file that a program of the user's has written, as Markdown.

    Args:
        status: of the study.
        result: the run that the file is of, and that of plain convolution.
        file: its name.
    """
    best, plain = result.best, result.plain
    return "\n".join(
        [
            *_heading(status, result),
            f"`{file}` is stored as the program has written it: its density is not folded into "
            "stock convolutions, and its scores were not computed again. The program knows how "
            "to load it. Where that calls `replace_convolutions(network, density)`, "
            "`wconv_kernels.fold(network)` makes stock convolutions of the loaded network.",
            "",
            "## Scores, as the program has reported them",
            "",
            f"| metric | this run | {plain_heading(result)} |",
            "|---|---|---|",
            *(
                f"| {name} | {value:.6g} | {_of_plain(plain, name)} |"
                for name, value in best.metrics.items()
            ),
            "",
            *_origin(status, result),
        ]
    )


def folded_card(
    status: StudyStatus,
    result: StudyResult,
    how: WeightsSpec,
    scores: Mapping[str, float],
    arguments: Mapping[str, Any],
) -> str:
    """Return the card of such a network whose density was folded into stock convolutions.

    Args:
        status: of the study.
        result: the run that the network is of, and that of plain convolution.
        how: the functions that return and score the network.
        scores: the metrics of the folded network, computed again.
        arguments: those that the network was built with.
    """
    best, plain = result.best, result.plain
    module, _, function = how.network.partition(":")
    given = ", ".join(f"{name}={value!r}" for name, value in arguments.items())
    return "\n".join(
        [
            *_heading(status, result),
            "Its density is folded into stock convolutions, V = W * Phi: `model.safetensors` "
            f"fits the plain network that `{how.network}` returns, and needs no wconv-sweep.",
            "",
            "## Scores",
            "",
            f"`{how.score}` has computed the scores of this file again.",
            "",
            f"| metric | this file | reported by the program | | {plain_heading(result)} |",
            "|---|---|---|---|---|",
            *(
                f"| {name} | {value:.6g} | {number_text(best.metrics.get(name))} | "
                f"{_compared(value, best.metrics.get(name))} | {_of_plain(plain, name)} |"
                for name, value in scores.items()
            ),
            "",
            *_origin(status, result),
            "## Load it",
            "",
            f"`{module}` is the study's own module. Run this where Python finds it: beside a copy "
            "of it, or with its folder in `PYTHONPATH`.",
            "",
            "```python",
            "from safetensors.torch import load_file",
            f"from {module} import {function} as build",
            "",
            f"network = build({given})",
            'network.load_state_dict(load_file("model.safetensors"), assign=True)',
            "network.eval()",
            "```",
            "",
        ]
    )


def _heading(status: StudyStatus, result: StudyResult) -> list[str]:
    config = status.config
    assert config.trainer is not None
    name = config.trainer.name
    density = ", ".join(f"{value:.6g}" for value in result.best.density or ())
    return [
        f"# {name} of study {config.study}",
        "",
        f"Trained by a program, `{name}`, with density ({density}), outermost "
        f"first, for weighted convolutions of size {config.kernel_size} "
        "([arXiv:2505.24558](https://arxiv.org/abs/2505.24558)).",
        "",
    ]


def _origin(status: StudyStatus, result: StudyResult) -> list[str]:
    best = result.best
    config = status.config if best.point is None else config_at(status.config, best.point)
    assert config.trainer is not None
    return [
        one_run(status, result),
        "",
        "## How it was trained",
        "",
        f"* options: `{config.trainer.options}`",
        f"* reports: {config.trainer.reports}",
        *settings_lines(result),
        *origin_lines(status, best),
        "",
    ]


def _of_plain(plain: TrialRow | None, name: str) -> str:
    return number_text(plain.metrics.get(name) if plain else None)


def _compared(value: float, reported: float | None) -> str:
    """Return how near a score is to the one that the program has reported."""
    if reported is None:
        return "not reported"
    if value == reported:
        return "equal to the last digit"
    return f"differs by {value - reported:.2g}"
