"""The costs of a study's network, before any training."""

import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from wconv_jobs import catalog, own_code
from wconv_sweep.errors import ConfigurationError
from wconv_sweep.study import resources
from wconv_sweep.study.config import PLAIN, StudyConfig
from wconv_sweep.study.files import load_study
from wconv_sweep.study.own_modules import freeze_modules
from wconv_sweep.study.point import Point
from wconv_sweep.study.trial_spec import trial_spec

TRIED_MACS = 1e9
"""A network of the user's own is tried for real if a sample takes at most so many; it passes some
fifty samples, which takes a minute at most."""

if TYPE_CHECKING:
    from wconv_jobs.inspection import NetworkFacts


@dataclass(frozen=True)
class StudyFacts:
    """A study with the costs of its network."""

    config: StudyConfig
    network: "NetworkFacts | None"
    """None where a program of the user's builds it."""
    sample_shape: tuple[int, ...]
    """Shape of one training sample, the channels first, that the costs refer to."""
    memory_bytes: int
    """Estimate of the memory taken on each GPU, see `wconv_jobs.inspection.memory_bytes`; of all
    trials that share it."""


def shipped_studies() -> list[StudyConfig]:
    """Return all shipped studies, by name."""
    return [load_study(name) for name in resources.shipped("wconv_studies")]


def study_facts(config: StudyConfig) -> StudyFacts:
    """Return the facts of a study; builds its network without weights.

    A small network of the user's own is built with weights, too, and tried with a few samples.

    Raises:
        ConfigurationError: the network cannot be built, has no convolution of the density's size,
            or does not take the samples of the data; data of the user's own cannot be loaded; or
            the study's ranks would train another network than one rank.
    """
    if config.trainer is not None:
        return StudyFacts(config, None, (), 0)
    # Imported here: it loads torch, which takes two seconds.
    from wconv_jobs.inspection import inspect_network, memory_bytes, sample_shape
    from wconv_jobs.training.network import try_network

    key, ones = "data", config.references()[PLAIN]
    try:
        with _as_pilots_see_it(config.code_folder):
            shape = sample_shape(config.data)
            key = "model"
            network = inspect_network(config.model, config.kernel_size, shape, config.sites)
            if network.macs <= TRIED_MACS and _is_own_and_at_hand(config):
                try_network(trial_spec(config, Point(ones), 0, Path()), config.trial.ranks)
    except ValueError as error:  # JobError, SiteError
        raise ConfigurationError(f"study {config.study}: {key}: {error}") from error
    memory = memory_bytes(network, config.recipe, config.trial.ranks)
    return StudyFacts(config, network, shape, memory * config.trial.per_gpu)


def _is_own_and_at_hand(config: StudyConfig) -> bool:
    """Return whether network or data are the user's own, and the samples need no file of ours."""
    data, model = own_code.is_own(config.data.name), own_code.is_own(config.model.name)
    return data or (model and not catalog.reads_files(config.data.name))


@contextmanager
def _as_pilots_see_it(folder: Path | None) -> Iterator[None]:
    """Make the user's modules importable from a copy that holds what a launch would copy."""
    if folder is None:
        yield
        return
    loaded = set(sys.modules)
    with (
        tempfile.TemporaryDirectory() as name,
        own_code.folder_added(freeze_modules(folder, Path(name).resolve())),
    ):
        try:
            yield
        finally:
            # Those of another study may have the same names.
            for module in set(sys.modules) - loaded:
                origin = getattr(sys.modules[module], "__file__", None)
                if origin and Path(origin).is_relative_to(Path(name).resolve()):
                    del sys.modules[module]


def check_studies(wanted: Sequence[str]) -> tuple[list[StudyFacts], list[str]]:
    """Return the facts of the valid studies, and the problems of the others.

    Args:
        wanted: shipped names and paths of files; none means all that are shipped.
    """
    right: list[StudyFacts] = []
    problems: list[str] = []
    for name in wanted or resources.shipped("wconv_studies"):
        try:
            right.append(study_facts(load_study(name)))
        except ConfigurationError as error:
            problems += error.problems
    return right, problems
