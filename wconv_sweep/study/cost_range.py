"""Between what costs the trials of a study lie that searches keys which change them: width, batch
size and the like."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from wconv_jobs import catalog
from wconv_sweep.errors import ConfigurationError
from wconv_sweep.study.config import PLAIN, StudyConfig
from wconv_sweep.study.costly_keys import changes_cost
from wconv_sweep.study.own_modules import as_pilots_see_it
from wconv_sweep.study.point import Point, Setting, Settings
from wconv_sweep.study.trial_spec import config_at

if TYPE_CHECKING:
    from wconv_jobs.inspection import NetworkFacts


@dataclass(frozen=True, order=True)
class PointCosts:
    """What a trial costs at some values of the keys in `search.also`."""

    operations: float
    """Multiply-accumulates of an epoch, as a multiple of those at the study's own values."""
    memory_bytes: int
    """Estimate of the memory taken on each GPU, see `memory_on_gpu`."""
    parameters: int
    macs: int
    """Multiply-accumulates of the forward pass of one sample."""


@dataclass(frozen=True)
class CostRange:
    """The cheapest and the dearest trials that a search may propose."""

    cheapest: PointCosts
    cheapest_at: Settings
    """Values of those keys that change the costs."""
    dearest: PointCosts
    dearest_at: Settings


def cost_range(config: StudyConfig) -> CostRange | None:
    """Return between what costs the trials of a study lie; None where all cost the same.

    Of each key in `search.also` the end of its range, or the choice, counts that costs least or
    most, operations first, then memory, with all other keys at the study's own values. Builds
    some networks without weights.

    Raises:
        ConfigurationError: the network cannot be built at such values.
    """
    if config.trainer is not None or not any(map(changes_cost, config.search.also)):
        return None
    own, least, most = dict(config.own_settings()), {}, {}
    with as_pilots_see_it(config.code_folder):
        known = _Known(config)
        for key, spec in config.search.also.items():
            costs = {value: known.costs(own | {key: value}) for value in spec.ends}
            low, high = min(costs, key=costs.__getitem__), max(costs, key=costs.__getitem__)
            if costs[low] != costs[high]:
                least[key], most[key] = low, high
        if not most:
            return None
        return CostRange(
            cheapest=known.costs(own | least),
            cheapest_at=tuple(least.items()),
            dearest=known.costs(own | most),
            dearest_at=tuple(most.items()),
        )


def memory_on_gpu(config: StudyConfig, network: "NetworkFacts") -> int:
    """Return an estimate of the memory that trials take on each GPU, bytes; all that share it.

    See `wconv_jobs.inspection.memory_bytes` for what it holds.
    """
    from wconv_jobs.inspection import memory_bytes

    return memory_bytes(network, config.recipe, config.trial.ranks) * config.trial.per_gpu


class _Known:
    """The costs at points of a study, each of whose networks is built once."""

    def __init__(self, config: StudyConfig) -> None:
        self._config = config
        self._networks: dict[str, NetworkFacts] = {}
        self._own_operations = self._operations(config)

    def costs(self, settings: Mapping[str, Setting]) -> PointCosts:
        point = Point(self._config.references()[PLAIN], tuple(settings.items()))
        there = config_at(self._config, point)
        try:
            network = self._network(there)
        except ValueError as error:  # JobError, SiteError
            at = ", ".join(f"{key} {value}" for key, value in point.settings)
            raise ConfigurationError(
                f"study {self._config.study}: search.also: no network can be built at {at}. Leave "
                f"such values out, or correct the network: {error}"
            ) from error
        return PointCosts(
            operations=self._operations(there) / self._own_operations,
            memory_bytes=memory_on_gpu(there, network),
            parameters=network.parameters,
            macs=network.macs,
        )

    def _operations(self, config: StudyConfig) -> int:
        """Return the operations of an epoch, up to a factor that is the same at every point."""
        # Where files decide how many samples there are, all points have the same.
        samples = catalog.epoch_samples(config.data.name, config.data.options)
        return self._network(config).macs * (samples or 1)

    def _network(self, config: StudyConfig) -> "NetworkFacts":
        # Imported here: it loads torch, which takes two seconds.
        from wconv_jobs.inspection import inspect_network, sample_shape

        key = f"{config.model.model_dump_json()} {config.data.model_dump_json()}"
        if key not in self._networks:
            self._networks[key] = inspect_network(
                config.model, config.kernel_size, sample_shape(config.data), config.sites
            )
        return self._networks[key]
