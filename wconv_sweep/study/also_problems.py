"""What is wrong with the keys that are searched together with the density: `search.also`."""

import math
from collections.abc import Callable, Iterator
from itertools import product
from typing import Any

from pydantic import ValidationError

from wconv_jobs import catalog
from wconv_jobs.catalog import Kind
from wconv_sweep.study.config import PLAIN, StudyConfig, value_at
from wconv_sweep.study.parameter import ParameterSpec
from wconv_sweep.study.point import Point, SearchArm, Settings
from wconv_sweep.study.search_config import GridSpec
from wconv_sweep.study.trial_spec import config_at
from wconv_sweep.validation import did_you_mean, first_problem

Problem = tuple[tuple[str, ...], str]

MOST_KEYS = 6
_SECTIONS = ("recipe.", "model.options.", "data.options.")
_OF_TRAINER = "trainer.options."
_REFUSED = {
    "recipe.epochs": "sets how long a trial is, and trials are compared after equal epochs",
    "recipe.preset": "chooses the recipe, whose keys are searched one by one",
    "recipe.test_metrics": "says what is measured, which changes no network",
    "data.options.folder": "says where the data are, which are checked once",
    "data.options.cache_folder": "says where the data are, which are checked once",
}
_FOR_TRAINING_ALONE = {"crop_px", "crops_per_epoch", "flip", "flips", "noise", "pad_px"}


def also_problems(
    config: StudyConfig, problems_of: Callable[[StudyConfig], list[Problem]]
) -> Iterator[Problem]:
    """Yield what is wrong with the searched keys of a study, as (key, sentence).

    Args:
        config: the study.
        problems_of: what no single key shows of a study.
    """
    unknown = list(_unknown_settings(config))
    yield from unknown
    if not config.search.also:
        if config.search.arms != "both":
            yield (
                ("search", "arms"),
                "is weighted, but without search.also there are no two arms. Remove it.",
            )
        return
    found = [
        ((("search", "also", key)), text)
        for key, spec in config.search.also.items()
        if (text := _wrong_with(config, key, spec)) is not None
    ]
    yield from found
    yield from _search_problems(config)
    if found:
        return
    if config.has_two_arms:
        yield from _sharing_problems(config)
    if len(config.search.also) > MOST_KEYS:
        text = f"has {len(config.search.also)} keys. Take at most {MOST_KEYS}: each needs trials."
        yield ("search", "also"), text
        return
    known = {text for _, text in problems_of(config)}
    of_one = [
        problem
        for key, spec in config.search.also.items()
        for problem in _at_its_values(config, key, spec, known, problems_of)
    ]
    yield from of_one or _at_the_corners(config, known, problems_of)
    if not of_one and not unknown:
        yield from _at_the_references(config, known, problems_of)


def _unknown_settings(config: StudyConfig) -> Iterator[Problem]:
    """Yield which values of reference densities are not among those that are searched."""
    for name, settings in config.reference_settings().items():
        for key, value in settings.items():
            spec = config.search.also.get(key)
            if spec is None:
                text = f"has {key}, which is not in search.also. Search it, or remove it here."
                yield ("reference_densities", name), text
            elif not spec.holds(value):
                yield (
                    ("reference_densities", name),
                    f"has {key} {value!r}, which is not one of the values that are searched. Take "
                    f"one of them ({spec.text}), or widen them.",
                )


def _at_the_references(
    config: StudyConfig, known: set[str], problems_of: Callable[[StudyConfig], list[Problem]]
) -> Iterator[Problem]:
    """Yield what is wrong with the study at the values of each reference density."""
    points = config.reference_points()
    for name in config.reference_settings():
        text = _wrong_at(config, points[name].settings, known, problems_of)
        if text is not None:
            yield ("reference_densities", name), f"cannot be trained: {text}"


def _wrong_with(config: StudyConfig, key: str, spec: ParameterSpec) -> str | None:
    """Return what is wrong with a key whatever its values are."""
    if config.trainer is not None and not key.startswith(_OF_TRAINER):
        return (
            f"is not below trainer.options, which {config.trainer.name} gets. Write the whole "
            "key, such as trainer.options.lr."
        )
    if config.trainer is None and not key.startswith(_SECTIONS):
        return (
            "is not below recipe, model.options or data.options. Write the whole key, such as "
            "recipe.optimizer.lr."
        )
    if key in _REFUSED:
        return f"{_REFUSED[key]}. Leave it out."
    if _changes_what_is_scored(config, key):
        return (
            "changes the images that networks are scored on, so that scores would not compare. "
            "Leave it out, or make a study of each value."
        )
    own = value_at(config.model_dump(mode="json", by_alias=True), key)
    if own is None:
        return _unknown(config, key) or (
            f"has no value in the study, at which the reference densities are trained. Set {key} "
            "to one of those that are searched."
        )
    if isinstance(own, dict):
        one = ", ".join(f"{key}.{name}" for name in own)
        return f"holds keys, which are searched one by one. Take one of {one}."
    if isinstance(own, list):
        return f"is a list in the study ({own!r}), and lists are not searched. Leave it out."
    if not spec.holds(own):
        return (
            f"is {own!r} in the study, which is not one of the values that are searched; the "
            f"reference densities are trained at it. Set {key} to one of them, or widen them."
        )
    return None


def _changes_what_is_scored(config: StudyConfig, key: str) -> bool:
    """Return whether an option of a data set that we know is not for training images alone."""
    section, name = "data.options.", config.data.name
    if not key.startswith(section) or name not in catalog.names("data"):
        return False
    option = key.removeprefix(section)
    return catalog.has_option("data", name, option) and option not in _FOR_TRAINING_ALONE


def _unknown(config: StudyConfig, key: str) -> str | None:
    """Return that a key without a value is none of a study's; None if it is one, or may be."""
    found: Any = config.model_dump(mode="json", by_alias=True)
    # What the study leaves out is an option nevertheless; that of a function or program of the
    # user's shows when it has a value.
    kinds: list[tuple[str, Kind, str]] = [
        ("model", "models", config.model.name),
        ("data", "data", config.data.name),
    ]
    for section, kind, name in kinds:
        if name in catalog.names(kind):
            left_out = dict.fromkeys(catalog.option_names(kind, name))
            found[section]["options"] = left_out | found[section]["options"]
        elif key.startswith(f"{section}."):
            return None
    if config.trainer is not None:
        return None
    above = ""
    for name in key.split("."):
        if not isinstance(found, dict):
            break
        if name not in found:
            known = sorted(found)
            listed = f"Known keys: {', '.join(known)}."
            return f"is not a known key. {did_you_mean(name, known) or listed}"
        found, above = found[name], f"{above}.{name}".removeprefix(".")
    return None if found is None else f"is not a known key: {above} holds no keys. Write it alone."


def _at_its_values(
    config: StudyConfig,
    key: str,
    spec: ParameterSpec,
    known: set[str],
    problems_of: Callable[[StudyConfig], list[Problem]],
) -> Iterator[Problem]:
    """Yield what the schema of a key says of the first of its values that it does not take."""
    own = dict(config.own_settings())
    for value in spec.probes:
        settings = tuple((each, value if each == key else own[each]) for each in own)
        text = _wrong_at(config, settings, known, problems_of)
        if text is not None:
            shown = text.removeprefix(f"{key} ")
            remedy = _remedy(text, spec)
            yield ("search", "also", key), f"cannot be {value!r}: {shown}{remedy}"
            return


def _at_the_corners(
    config: StudyConfig, known: set[str], problems_of: Callable[[StudyConfig], list[Problem]]
) -> Iterator[Problem]:
    """Yield what is wrong where several keys are at their ends at once."""
    ends = [(spec.ends[0], spec.ends[-1]) for spec in config.search.also.values()]
    for values in product(*ends):
        settings = tuple(zip(config.search.also, values, strict=True))
        text = _wrong_at(config, settings, known, problems_of)
        if text is not None:
            shown = ", ".join(f"{key} {value!r}" for key, value in settings)
            yield ("search", "also"), f"cannot be {shown} at once: {text}"
            return


def _wrong_at(
    config: StudyConfig,
    settings: Settings,
    known: set[str],
    problems_of: Callable[[StudyConfig], list[Problem]],
) -> str | None:
    """Return what is wrong with the study at some values of the keys, beside what is anyway."""
    try:
        there = config_at(config, Point(config.references()[PLAIN], settings))
    except ValidationError as error:
        return f"{first_problem(error)}."
    further = ((at, text) for at, text in problems_of(there) if text not in known)
    return next((f"{'.'.join(at)} {text}" for at, text in further), None)


def _remedy(text: str, spec: ParameterSpec) -> str:
    is_fraction = "integer" in text and spec.choices is None and not spec.integer
    return " Write integer: true." if is_fraction else ""


def _search_problems(config: StudyConfig) -> Iterator[Problem]:
    search, sampler = config.search, config.search.sampler.name
    has_choices = any(spec.choices is not None for spec in search.also.values())
    at = ("search", "sampler", "name")
    if isinstance(search.sampler, GridSpec):
        yield at, "is grid, which takes the density alone. Take qmc, which fills a space evenly."
        return
    if sampler in ("cmaes", "direct-l") and has_choices:
        yield (
            at,
            f"is {sampler}, which takes numbers alone, not choices. Take tpe or gp.",
        )
    if sampler == "cmaes" and len(search.also) == 1 and config.has_two_arms:
        yield (
            at,
            "is cmaes, which takes two parameters or more, but plain convolution has only the one "
            "in search.also. Take tpe or gp.",
        )
    if search.warm_start:
        yield (
            ("search", "warm_start"),
            "takes over densities, which say nothing of the keys in search.also. Remove it.",
        )


def _sharing_problems(config: StudyConfig) -> Iterator[Problem]:
    """Yield why plain and weighted convolution cannot get equal numbers of proposals."""
    search, seeds, left = config.search, config.search.seeds, config.search_trials
    round_ = len(SearchArm) * seeds  # a proposal for each side
    if left > 0 and left % round_ and not left % seeds:
        fewer = config.budget.trials - left % round_
        yield (
            ("budget", "trials"),
            f"leaves {left} for the search, which plain and weighted convolution cannot share "
            f"evenly. Set {fewer} or {fewer + round_}.",
        )
    sizes = [spec.size for spec in search.also.values()]
    if all(size is not None for size in sizes):
        points = math.prod(size for size in sizes if size is not None)
        proposals = left // round_
        # Its own values are those of the plain baseline.
        known = {each for each in config.reference_points().values() if each.is_plain}
        if proposals > points - len(known):
            yield (
                ("search", "also"),
                f"has {points} combinations for plain convolution, {len(known)} of them trained "
                f"as references, but {proposals} are to be proposed. Add values, or trials with "
                "search.seeds.",
            )
