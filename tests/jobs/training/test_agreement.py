"""What the ranks agree on between two steps, and how often they ask."""

import time
from dataclasses import dataclass, field

import pytest
import torch

from wconv_jobs.training.agreement import Action, Agreement, EvaluationDropped
from wconv_jobs.training.world import World


@dataclass(frozen=True)
class _Rank0OfTwo(World):
    """Rank 0 of two, whose broadcasts are written down."""

    sent: list[list[int]] = field(default_factory=list)

    def numbers_from_rank_0(self, numbers: list[int]) -> list[int]:  # type: ignore[override]
        self.sent.append(list(numbers))
        return list(numbers)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that stands still unless its one number is changed."""
    now_s = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now_s[0])
    return now_s


def _agreement(world: World, *, demanded: bool = False, every_s: float = 600.0) -> Agreement:
    return Agreement(world, lambda: demanded, deadline_s=None, checkpoint_every_s=every_s)


def test_ranks_ask_again_after_as_many_steps_as_fit_into_half_a_second(
    clock: list[float],
) -> None:
    world = _Rank0OfTwo(rank=0, size=2, device=torch.device("cpu"))
    agreement = _agreement(world)

    # Steps of 0.125 s: four of them are half a second.
    for _ in range(9):
        clock[0] += 0.125
        assert agreement.after_step() is Action.GO

    assert world.sent == [[Action.GO, 4]] * 3


@pytest.mark.parametrize(("rank", "told"), [(0, ["stepped"]), (1, [])])
def test_rank_0_tells_of_the_first_step_once(rank: int, told: list[str]) -> None:
    heard: list[str] = []
    world = _Rank0OfTwo(rank=rank, size=2, device=torch.device("cpu"))
    agreement = Agreement(
        world,
        lambda: False,
        deadline_s=None,
        checkpoint_every_s=600.0,
        stepped=lambda: heard.append("stepped"),
    )

    before = list(heard)
    for _ in range(3):
        agreement.after_step()

    assert (before, heard) == ([], told)


def test_a_step_that_takes_longer_is_asked_about_each_time(clock: list[float]) -> None:
    world = _Rank0OfTwo(rank=0, size=2, device=torch.device("cpu"))
    agreement = _agreement(world)

    for _ in range(3):
        clock[0] += 7.0
        agreement.after_step()

    assert world.sent == [[Action.GO, 1]] * 3


def test_other_ranks_obey_rank_0_and_neither_the_agent_nor_the_clock() -> None:
    class Rank1(World):
        def numbers_from_rank_0(self, numbers: list[int]) -> list[int]:  # type: ignore[override]
            assert numbers[0] is Action.GO
            return [Action.SAVE, 3]

    agreement = _agreement(Rank1(rank=1, size=2, device=torch.device("cpu")), demanded=True)

    actions = [agreement.after_step() for _ in range(5)]

    go, save = Action.GO, Action.SAVE
    assert actions == [save, go, go, save, go]
    agreement.drop_evaluation()  # rank 0's affair


def test_a_lone_rank_asks_after_each_step(clock: list[float]) -> None:
    agreement = _agreement(World(rank=0, size=1, device=torch.device("cpu")), every_s=10.0)

    actions = []
    for _ in range(5):
        clock[0] += 4.0
        actions.append(agreement.after_step())
        if actions[-1] is Action.SAVE:
            agreement.saved()

    go, save = Action.GO, Action.SAVE
    assert actions == [go, go, save, go, go]


def test_a_demand_comes_before_an_old_checkpoint_and_drops_an_evaluation() -> None:
    world = World(rank=0, size=1, device=torch.device("cpu"))
    agreement = _agreement(world, demanded=True, every_s=1e-9)

    assert agreement.after_step() is Action.STOP
    with pytest.raises(EvaluationDropped):
        agreement.drop_evaluation()
