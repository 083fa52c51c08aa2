"""The costs of a study's network, before any training."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from wconv_jobs import catalog, own_code
from wconv_sweep.errors import ConfigurationError
from wconv_sweep.study import resources
from wconv_sweep.study.config import PLAIN, StudyConfig
from wconv_sweep.study.cost_range import CostRange, cost_range, memory_on_gpu
from wconv_sweep.study.files import load_study
from wconv_sweep.study.own_modules import as_pilots_see_it
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
    """Estimate of the memory taken on each GPU, see `memory_on_gpu`, at the study's own values."""
    costs: CostRange | None = None
    """Where keys in `search.also` change them; None: all trials cost the same."""

    @property
    def most_memory_bytes(self) -> int:
        """That of the dearest trials."""
        return self.costs.dearest.memory_bytes if self.costs else self.memory_bytes


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
    from wconv_jobs.inspection import inspect_network, sample_shape
    from wconv_jobs.training.network import try_network

    key, ones = "data", config.references()[PLAIN]
    try:
        with as_pilots_see_it(config.code_folder):
            shape = sample_shape(config.data)
            key = "model"
            network = inspect_network(config.model, config.kernel_size, shape, config.sites)
            if network.macs <= TRIED_MACS and _is_own_and_at_hand(config):
                try_network(trial_spec(config, Point(ones), 0, Path()), config.trial.ranks)
    except ValueError as error:  # JobError, SiteError
        raise ConfigurationError(f"study {config.study}: {key}: {error}") from error
    return StudyFacts(config, network, shape, memory_on_gpu(config, network), cost_range(config))


def _is_own_and_at_hand(config: StudyConfig) -> bool:
    """Return whether network or data are the user's own, and the samples need no file of ours."""
    data, model = own_code.is_own(config.data.name), own_code.is_own(config.model.name)
    return data or (model and not catalog.reads_files(config.data.name))


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
