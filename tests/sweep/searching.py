"""A search without training: a study's slots are worked through with a synthetic response."""

from collections.abc import Callable, Iterator
from typing import Any

from tests.sweep.tiny import TINY
from wconv_sweep.run_folder import RunFolder
from wconv_sweep.search.pruning import Pruning
from wconv_sweep.search.sampling import propose
from wconv_sweep.search.trial_mirror import mirrors_of
from wconv_sweep.slots import studies
from wconv_sweep.slots.table import Lease, SlotTable
from wconv_sweep.storage.open_storage import Storage
from wconv_sweep.study.config import StudyConfig

Curve = Callable[[tuple[float, ...], int], float]


def study_of(
    sampler: dict[str, Any],
    *,
    name: str = "tiny",
    trials: int = 8,
    epochs: int = 2,
    pruner: dict[str, Any] | None = None,
    bounds: list[list[float]] | None = None,
    reference_densities: dict[str, Any] | None = None,
    confirm: dict[str, int] | None = None,
    **search_settings: Any,
) -> StudyConfig:
    """Return a study with two coefficients, where its bounds do not say otherwise."""
    bounds = bounds or [[0.05, 1.0], [0.5, 1.5]]
    search = {"bounds": bounds, "sampler": sampler, "pruner": pruner or {"name": "none"}}
    search |= search_settings
    return StudyConfig.model_validate(
        TINY
        | {
            "study": name,
            "kernel_size": 2 * len(bounds) + 1,
            "recipe": TINY["recipe"] | {"epochs": epochs},
            "search": search,
            "reference_densities": reference_densities or {},
            "budget": {"trials": trials},
            "confirm": confirm,
        }
    )


def parabola(density: tuple[float, ...], epoch: int) -> float:
    """Return a response whose best density is (0.3, 0.9); it grows with the epochs."""
    return -sum((value - best) ** 2 for value, best in zip(density, (0.3, 0.9), strict=True)) / (
        epoch
    )


class Searcher:
    """What an agent does, without ranks."""

    def __init__(
        self, storage: Storage, config: StudyConfig, owner: str = "node/pilot-0/1"
    ) -> None:
        self.config, self.owner = config, owner
        self.slots = SlotTable(storage, config, lease_s=60)
        self.mirrors = mirrors_of(storage, config)
        self.mirror = next(iter(self.mirrors.values()))
        self.pruning = Pruning(config, self.mirrors)

    def lease(self) -> Lease:
        """Lease a slot that must be there."""
        lease = self.slots.lease(self.owner)
        assert isinstance(lease, Lease)
        return lease

    def leases(self) -> Iterator[Lease]:
        """Lease slots until there are none."""
        while isinstance(lease := self.slots.lease(self.owner), Lease):
            yield lease

    def density_of(self, lease: Lease) -> tuple[float, ...]:
        """Return the density of a lease, proposed where it has none."""
        if lease.point is not None:
            return lease.point.density
        proposal = propose(self.config, self.mirrors[lease.arm], lease.trial, lease.position)
        self.slots.set_point(lease, proposal.point, proposal.attributes)
        return proposal.point.density

    def report(self, lease: Lease, epoch: int, value: float) -> bool:
        """Record an epoch that is not recorded yet, and return whether the trial is pruned."""
        decision = self.pruning.decide(lease, epoch, value)
        metrics = {self.config.objective.metric: value}
        self.slots.report(lease, epoch, value, metrics, decision.attributes)
        return decision.prune

    def train(self, lease: Lease, curve: Curve = parabola) -> tuple[float, ...]:
        """Train a lease to its end, and return its density."""
        density = self.density_of(lease)
        for epoch in range(lease.epoch + 1, self.config.recipe.epochs + 1):
            if self.report(lease, epoch, curve(density, epoch)):
                self.slots.prune(lease)
                return density
        value = curve(density, self.config.recipe.epochs)
        self.slots.complete(lease, {f"test_{self.config.objective.metric}": value}, {})
        return density

    def work(self, curve: Curve = parabola) -> list[tuple[float, ...]]:
        """Train until nothing is left, and return the densities that were proposed."""
        trained = [(lease, self.train(lease, curve)) for lease in self.leases()]
        return [density for lease, density in trained if lease.point is None]


def launched(storage: Storage, config: StudyConfig) -> Searcher:
    """Create a study and return who works on it."""
    studies.create_or_extend(storage, config, RunFolder.of(storage.folder, "tiny"), "local")
    return Searcher(storage, config)
