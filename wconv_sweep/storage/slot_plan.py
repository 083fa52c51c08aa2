"""The slots of a study: its budget, for reference densities, search and confirmation."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from wconv_jobs.spec import Ablation
from wconv_sweep.storage.tables import SlotState, Stage
from wconv_sweep.study.config import StudyConfig
from wconv_sweep.study.point import Point, SearchArm

ABLATIONS: tuple[Ablation, ...] = ("initial weights", "gradient")
"""Labels of an ablation's slots: the half of the density's effect that plain convolution gets.
Both halves, and neither, are in the confirmation."""


@dataclass(frozen=True)
class PlannedSlot:
    """A slot to add to a study."""

    stage: Stage
    replicate: int
    label: str | None = None
    point: Point | None = None
    state: SlotState = SlotState.OPEN
    arm: SearchArm | None = None
    """Whose best point it helps to find; None where the search has one arm."""

    def row(self, study: str, position: int) -> dict[str, object]:
        """Return its row in the table of slots."""
        return {
            "study": study,
            "position": position,
            "stage": self.stage,
            "label": self.label,
            "arm": self.arm,
            "point": self.point,
            "replicate": self.replicate,
            "state": self.state,
            "attempt": 0,
            "broken": 0,
            "epoch": 0,
        }


@dataclass(frozen=True)
class GivenPoint:
    """A point that the search trains before it proposes its own."""

    label: str
    point: Point


def plan_slots(config: StudyConfig, given: Sequence[GivenPoint] = ()) -> Iterator[PlannedSlot]:
    """Yield the slots of a new study, `budget.trials` of them, in the order of leasing.

    Args:
        config: the study.
        given: points to start the search with, as many as its budget holds.
    """
    replicates = range(config.search.seeds)
    for label, point in config.reference_points().items():
        arm = _arm(config, is_plain=point.is_plain)
        for replicate in replicates:
            yield PlannedSlot(Stage.REFERENCE, replicate, label, point, arm=arm)
    grid = config.grid_points()
    for density in grid:
        for replicate in replicates:
            yield PlannedSlot(Stage.SEARCH, replicate, point=Point(density))
    if not grid:
        begun = given[: config.search_trials // config.search.seeds]
        for each in begun:
            for replicate in replicates:
                yield PlannedSlot(Stage.SEARCH, replicate, each.label, each.point)
        spent = len(begun) * config.search.seeds
        yield from plan_search(config, config.search_trials - spent)
    if config.confirm is not None:
        # Its points and labels are written when it opens.
        for number in range(config.confirm_trials):
            replicate = first_fresh_replicate(config) + number % config.confirm.seeds
            yield PlannedSlot(Stage.CONFIRM, replicate, state=SlotState.CLOSED)


def plan_search(config: StudyConfig, trials: int) -> Iterator[PlannedSlot]:
    """Yield slots of the search; the further seeds of a point open when it has been proposed.

    Its arms, if it has two, take turns: plain convolution, weighted convolution.
    """
    for number in range(trials):
        proposal, replicate = divmod(number, config.search.seeds)
        state = SlotState.CLOSED if replicate else SlotState.OPEN
        arm = _arm(config, is_plain=proposal % 2 == 0)
        yield PlannedSlot(Stage.SEARCH, replicate, state=state, arm=arm)


def plan_ablation(replicates: Sequence[int]) -> Iterator[PlannedSlot]:
    """Yield the slots of an ablation on the seeds of the confirmation."""
    for label in ABLATIONS:
        for replicate in replicates:
            yield PlannedSlot(Stage.ABLATION, replicate, label, state=SlotState.CLOSED)


def ablation_of(stage: Stage, label: str | None) -> Ablation:
    """Return the part of its density's effect that a slot leaves out."""
    if stage is not Stage.ABLATION:
        return "none"
    return next(each for each in ABLATIONS if each == label)


def first_fresh_replicate(config: StudyConfig) -> int:
    """Return the first seed index that no trial of the search has."""
    return config.search.seeds


def _arm(config: StudyConfig, *, is_plain: bool) -> SearchArm | None:
    if not config.has_two_arms:
        return None
    return SearchArm.PLAIN if is_plain else SearchArm.WEIGHTED
