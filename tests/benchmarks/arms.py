"""What a claim holds where each side is tuned, and where one is, on synthetic responses.

    python -m tests.benchmarks.arms
    python -m tests.benchmarks.arms --studies 20 --sampler qmc
    python -m tests.benchmarks.arms --runs 10 --cliff

Each study searches one density and the learning rate, with the same number of runs for each arm,
and confirms the best points of both on fresh seeds, 25 sets of 5. Plain and weighted convolution
have their best learning rates at different places, apart by up to a quarter of the range, and the
rate that the study itself gives lies as far from that of plain convolution. With a cliff, training
collapses above a rate that lies a twentieth to three tenths of the range above the best one. All
is in standard deviations of the seed.
"""

import argparse
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from threadpoolctl import threadpool_limits

from wconv_jobs.seeding import derive_seed
from wconv_sweep.evidence.candidates import Candidates, choose_candidates, searched
from wconv_sweep.evidence.coordinates import Coordinates
from wconv_sweep.evidence.results import TrialRow
from wconv_sweep.evidence.surrogate import fit
from wconv_sweep.simulation.synthetic_trials import rows_of, train
from wconv_sweep.simulation.two_sides import GAINS, SidesOutcome, outcomes_of
from wconv_sweep.study.config import PLAIN, StudyConfig
from wconv_sweep.study.point import Point, SearchArm
from wconv_sweep.study.search_space import distributions_of, params_of, share_of

LR = "recipe.optimizer.lr"
STEEPNESS = 16.0
"""Loss at a whole range from the best learning rate, or density; 1 at a quarter."""
DEPTH = 40.0
"""Loss of a collapsed run."""
COLLAPSED = DEPTH / 2
"""Regret of a point at which most runs collapse."""


@dataclass(frozen=True)
class Response:
    """Parabolas of learning rate and density; each side is 0 at its optimum."""

    config: StudyConfig
    plain_rate: float
    weighted_rate: float
    density: float
    cliff: float | None
    """How far above the best rate of a side training collapses; None: nowhere."""

    def __call__(self, point: Point) -> float:
        """Return the mean over all seeds at a point; plain convolution is the density of ones."""
        params = params_of(self.config, point)
        shares = distributions_of(self.config).items()
        density, rate = (share_of(each, params[name]) for name, each in shares)
        best = self.plain_rate if point.is_plain else self.weighted_rate
        if self.cliff is not None and rate > best + self.cliff:
            return -DEPTH
        lost = (rate - best) ** 2 + (0.0 if point.is_plain else (density - self.density) ** 2)
        return -STEEPNESS * lost


def study_of(sampler: str, runs: int, candidates: int, rate: float, seed: int) -> StudyConfig:
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
            "confirm": {"candidates": candidates, "seeds": 5},
            "budget": {"trials": 1 + 2 * runs + 10 * candidates},
            "seed": seed,
        }
    )


def boldly_chosen(trials: Sequence[TrialRow], config: StudyConfig) -> Candidates:
    """Return the points whose expectation alone is best, by a surrogate that is not wary."""
    points = {}
    for arm in SearchArm:
        pairs, space = searched(trials, arm), Coordinates(config, arm)
        values = [value for _, value in pairs]
        surrogate = fit(
            [space.of(point) for point, _ in pairs],
            values,
            space.bounds,
            config.direction,
            derive_seed(config.seed, "surrogate", arm.value),
            space.snap,
        )
        points[arm] = {PLAIN: space.point(surrogate.best_point())}
    return Candidates(points[SearchArm.PLAIN], points[SearchArm.WEIGHTED])


def outcomes(options: argparse.Namespace) -> dict[str, list[SidesOutcome]]:
    """Return the outcomes of the studies, by what is tuned and how points are chosen."""
    found: dict[str, list[SidesOutcome]] = {}
    runs, candidates = options.runs, options.candidates
    for repeat in range(options.studies):
        random = np.random.default_rng(derive_seed(0, "arms", repeat) % 2**32)
        rate, density = random.uniform(0.3, 0.7), random.uniform(0.1, 0.9)
        apart, weighted = random.choice([-0.25, 0.25]), rate + random.uniform(-0.25, 0.25)
        cliff = random.uniform(0.05, 0.3) if options.cliff else None
        config = study_of(options.sampler, runs, candidates, rate + apart, repeat)
        response = Response(config, rate, weighted, density, cliff)
        with threadpool_limits(1):
            trials = rows_of(config, train(config, response, 1, 1 + 2 * runs, repeat))
            chosen = choose_candidates(trials, config)
            bold = boldly_chosen(trials, config)
        for name, each in (("", chosen), (", best expected by the mean alone", bold)):
            for one in outcomes_of(config, response, each, random):
                found.setdefault(f"{one.tuned}{name}", []).append(one)
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--studies", type=int, default=200)
    parser.add_argument("--sampler", default="tpe")
    parser.add_argument("--runs", type=int, default=26, help="of each arm: an eighth of 21 x 10")
    parser.add_argument("--candidates", type=int, default=1, help="of each side")
    parser.add_argument("--cliff", action="store_true", help="rates at which training collapses")
    options = parser.parse_args(arguments)
    claimed = [f"better claimed at {gain:g}" for gain in GAINS]
    columns = ("tuned", "studies", "interval holds it", *claimed, "gain seen at 0")
    columns += ("regret: plain", "weighted", "collapsing")
    print(f"| {' | '.join(columns)} |")
    print(f"|{'---|' * len(columns)}")
    mean: Callable[[Sequence[float]], float] = statistics.fmean
    for name, each in outcomes(options).items():
        held = [one.held for one in each]
        error = 100 * statistics.stdev(held) / len(held) ** 0.5
        regrets = [(one.plain_regret, one.weighted_regret) for one in each]
        cells = (
            name,
            str(len(each)),
            f"{100 * mean(held):.1f} ± {error:.1f} %",
            *(
                f"{100 * mean(shares):.1f} %"
                for shares in zip(*(one.claimed for one in each), strict=True)
            ),
            f"{mean([one.measured for one in each]):+.2f}",
            *(f"{mean(side):.2f}" for side in zip(*regrets, strict=True)),
            f"{100 * mean([max(pair) > COLLAPSED for pair in regrets]):.1f} %",
        )
        print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
