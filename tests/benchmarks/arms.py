"""What a claim holds where each side is tuned, and where one is, on synthetic responses.

    python -m tests.benchmarks.arms
    python -m tests.benchmarks.arms --studies 20 --sampler qmc

Each study searches one density and the learning rate, with the same number of runs for each arm,
and confirms the best expected point of both on 5 fresh seeds. Plain and weighted convolution have
their best learning rates at different places, apart by up to a quarter of the range, and the rate
that the study itself gives lies as far from that of plain convolution. All is in standard
deviations of the seed.
"""

import argparse
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from optuna.trial import TrialState
from threadpoolctl import threadpool_limits

from wconv_jobs.seeding import derive_seed
from wconv_sweep.evidence.candidates import choose_candidates, plain_point
from wconv_sweep.evidence.results import TrialRow
from wconv_sweep.evidence.statistics import paired_difference
from wconv_sweep.search.known_trials import KnownTrials
from wconv_sweep.search.sampling import propose
from wconv_sweep.storage.slot_plan import plan_slots
from wconv_sweep.storage.tables import SEARCHING, SlotState
from wconv_sweep.study.config import PLAIN, StudyConfig
from wconv_sweep.study.point import Point, SearchArm
from wconv_sweep.study.search_space import distributions_of, params_of, share_of

LR = "recipe.optimizer.lr"
STEEPNESS = 16.0
"""Loss at a whole range from the best learning rate, or density; 1 at a quarter."""


@dataclass(frozen=True)
class Response:
    """Scores of both networks: parabolas over the ranges of learning rate and density."""

    gain: float
    """True difference of the two optima."""
    plain_rate: float
    weighted_rate: float
    density: float

    def __call__(self, config: StudyConfig, point: Point) -> float:
        """Return the mean over all seeds at a point; plain convolution is the density of ones."""
        params, space = params_of(config, point), distributions_of(config)
        density, rate = (share_of(each, params[name]) for name, each in space.items())
        if point.density == (1.0,):
            return -STEEPNESS * (rate - self.plain_rate) ** 2
        lost = (rate - self.weighted_rate) ** 2 + (density - self.density) ** 2
        return self.gain - STEEPNESS * lost


def study_of(sampler: str, runs: int, rate: float, seed: int) -> StudyConfig:
    """Return a study with so many runs for each arm, whose own learning rate is a share of its
    range."""
    return StudyConfig.model_validate(
        {
            "schema": 1,
            "study": "arms",
            "kernel_size": 3,
            "model": {"name": "dncnn"},
            "data": {"name": "photographs"},
            "recipe": {
                "optimizer": {"name": "adam", "lr": 1e-4 * 1000**rate},
                "epochs": 1,
                "batch_size": 8,
            },
            "objective": {"metric": "psnr_db"},
            "search": {
                "bounds": [[0.5, 1.5]],
                "sampler": {"name": sampler},
                "also": {LR: {"low": 1e-4, "high": 0.1, "log": True}},
            },
            "confirm": {"candidates": 1, "seeds": 5},
            "budget": {"trials": 1 + 2 * runs + 10},
            "seed": seed,
        }
    )


def searched(
    config: StudyConfig, response: Response, noise: np.random.Generator
) -> list[TrialRow]:
    """Return the trials of a search, one after the other."""
    known = {arm: KnownTrials(config, arm) for arm in SearchArm}
    rows = []
    for number, slot in enumerate(each for each in plan_slots(config) if each.stage in SEARCHING):
        assert slot.arm is not None
        mirror, point = known[slot.arm], slot.point
        mirror.tell(number)
        if point is None:
            point = propose(config, mirror, number, number).point
        value = response(config, point) + noise.normal()
        mirror.tell(number, point, TrialState.COMPLETE, value)
        rows.append(
            TrialRow(
                position=number,
                stage=slot.stage,
                label=slot.label,
                state=SlotState.COMPLETE,
                point=point,
                trial=number,
                attempt=1,
                epoch=1,
                value=value,
                metrics={},
                provenance={},
                reason=None,
                lease_until=None,
                arm=slot.arm,
            )
        )
    return rows


@dataclass(frozen=True)
class Claim:
    """What a study says of the two networks."""

    mean: float
    holds: bool
    """Whether the interval holds the true difference of the two optima."""
    better: bool
    regret: float
    """How far the confirmed density and rate are from the best ones."""


def claim_of(
    config: StudyConfig,
    response: Response,
    plain: Point,
    candidate: Point,
    noise: np.random.Generator,
) -> Claim:
    """Confirm two points on fresh seeds."""
    seeds = config.confirm.seeds if config.confirm else 0
    of_plain, of_candidate = (
        dict(enumerate(response(config, point) + noise.normal(size=seeds)))
        for point in (plain, candidate)
    )
    found = paired_difference(of_candidate, of_plain, comparisons=1)
    assert found is not None
    assert found.interval is not None
    low, high = found.interval
    regret = response.gain - response(config, candidate)
    return Claim(found.mean, low <= response.gain <= high, low > 0, regret)


def claims(sampler: str, runs: int, gain: float, studies: int) -> dict[str, list[Claim]]:
    """Return the claims of studies that tune both sides, and of those that tune one."""
    found: dict[str, list[Claim]] = {"both": [], "weighted alone": []}
    for repeat in range(studies):
        noise = np.random.default_rng(derive_seed(0, "arms", str(gain), repeat) % 2**32)
        rate, density = noise.uniform(0.3, 0.7), noise.uniform(0.1, 0.9)
        apart = noise.choice([-0.25, 0.25])
        response = Response(gain, rate, rate + noise.uniform(-0.25, 0.25), density)
        config = study_of(sampler, runs, rate + apart, repeat)
        with threadpool_limits(1):
            trials = searched(config, response, noise)
            candidates = list(choose_candidates(trials, config).values())
            plain = plain_point(trials, config)
        if plain is None or not candidates:
            continue  # plain convolution itself was found: nothing is confirmed
        (candidate,) = candidates
        own = config.reference_points()[PLAIN]
        for name, point in (("both", plain), ("weighted alone", own)):
            found[name].append(claim_of(config, response, point, candidate, noise))
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--studies", type=int, default=200, help="of each row")
    parser.add_argument("--sampler", default="tpe")
    parser.add_argument("--runs", type=int, default=26, help="of each arm: an eighth of 21 x 10")
    options = parser.parse_args(arguments)
    print("| true difference | tuned | interval holds it | better claimed | claimed | regret |")
    print("|---|---|---|---|---|---|")
    mean: Callable[[Sequence[float]], float] = statistics.fmean
    for gain in (0.0, 1.0, 2.0):
        for name, each in claims(options.sampler, options.runs, gain, options.studies).items():
            print(
                f"| {gain:g} | {name} | {100 * mean([one.holds for one in each]):.1f} % | "
                f"{100 * mean([one.better for one in each]):.1f} % | "
                f"{mean([one.mean for one in each]):+.2f} | "
                f"{mean([one.regret for one in each]):.2f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
