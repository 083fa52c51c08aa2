"""What `search.stop_when` saves, and what it costs, on synthetic responses.

    python -m tests.benchmarks.search_end
    python -m tests.benchmarks.search_end --studies 20 --coefficients 2

Each study searches with `tpe`, one trial at a time, for 60 trials, and the rule is asked after
each one, as agents do, for a confirmation on 5 seeds. Regret is the distance of the best expected
density from the optimum, in standard deviations of the seed.
"""

import argparse
import math
import statistics
from collections.abc import Callable, Sequence

import numpy as np
from threadpoolctl import threadpool_limits

from wconv_jobs.seeding import derive_seed
from wconv_sweep.evidence.candidates import surrogate_of
from wconv_sweep.simulation.surfaces import SHAPES, surface
from wconv_sweep.simulation.synthetic_trials import Response, Trained, rows_of, shares, train_on
from wconv_sweep.slots.search_end import is_due
from wconv_sweep.study.config import StudyConfig
from wconv_sweep.study.point import Point

TRIALS, MINIMUM, IN_A_ROW = 60, 20, 5


def study_of(coefficients: int) -> StudyConfig:
    """Return the study."""
    side = 2 * coefficients + 1
    return StudyConfig.model_validate(
        {
            "schema": 1,
            "study": "search_end",
            "kernel_size": side,
            "model": {"name": "dncnn", "options": {"kernel_size": side}},
            "data": {"name": "photographs"},
            "recipe": {"optimizer": {"name": "adam", "lr": 0.003}, "epochs": 1, "batch_size": 8},
            "objective": {"metric": "psnr_db"},
            "search": {
                "bounds": [[0.5, 1.5]] * coefficients,
                "sampler": {"name": "tpe"},
                "stop_when": {"in_a_row": IN_A_ROW, "minimum": MINIMUM},
            },
            "confirm": {"candidates": 2, "seeds": 5},
            "budget": {"trials": 1000},
        }
    )


def peak(width: float) -> Callable[[int, int], Response]:
    """Return a maker of responses: a peak of three noises, of this width, somewhere."""

    def response(coefficients: int, seed: int) -> Response:
        center = np.random.default_rng(seed).uniform(0.1, 0.9, coefficients)
        return lambda point: 3 * (math.exp(-(math.dist(point, center) ** 2) / (2 * width**2)) - 1)

    return response


def of_shape(shape: str) -> Callable[[int, int], Response]:
    """Return a maker of a surface of the simulations."""
    return lambda coefficients, seed: surface(shape, coefficients, seed)


RESPONSES: dict[str, Callable[[int, int], Response]] = {
    "no effect": lambda coefficients, seed: lambda point: 0.0,
    **{shape.replace("_", " "): of_shape(shape) for shape in SHAPES},
    "peak, width 0.05": peak(0.05),
    "peak, width 0.02": peak(0.02),
}


def regret(config: StudyConfig, response: Response, trained: Sequence[Trained]) -> float:
    """Return how far the density that these trials name is from the best one."""
    model = surrogate_of(rows_of(config, trained), config)
    assert model is not None
    return -response(shares(config, Point(model.best_point())))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--studies", type=int, default=20, help="of each response")
    parser.add_argument("--coefficients", type=int, default=1)
    options = parser.parse_args()
    config = study_of(options.coefficients)
    print("| response | trials of 60 | regret | regret of all 60 |\n|---|---|---|---|")
    for name, make in RESPONSES.items():
        used, stopped, whole = [], [], []
        for repeat in range(options.studies):
            seed = derive_seed(0, "search end", name, repeat) % 2**32
            response = make(options.coefficients, seed)
            with threadpool_limits(1):
                trained = train_on(config, response, 1, TRIALS, seed)
                ends = (
                    count
                    for count in range(MINIMUM, TRIALS)
                    if is_due(rows_of(config, trained[:count]), config)
                )
                used.append(next(ends, TRIALS))
                stopped.append(regret(config, response, trained[: used[-1]]))
                whole.append(regret(config, response, trained))
        means = [statistics.fmean(each) for each in (used, stopped, whole)]
        print(f"| {name} | {means[0]:.0f} | {means[1]:.2f} | {means[2]:.2f} |", flush=True)


if __name__ == "__main__":
    main()
