"""What one GPU gives: the tests that need one, and trials per hour of each way to train.

    python -m tests.benchmarks.gpu [--device cpu] [--output FOLDER] [--minutes 8] [--help]

All ways take turns and are held against one eager float32 trial at a time, round by round. A
trial counts 50,000 steps and its start, compiling included; validation and test are left out.
Writes `gpu.json` and `gpu.md`. On `cpu` the networks are tiny: that shows that it runs, and no
more. Without a GPU it says so and ends with status 2.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from wconv_jobs.files.atomic import replace_file
from wconv_sweep.calibration.comparison import Comparison, Row, compare
from wconv_sweep.calibration.node_run import measured
from wconv_sweep.calibration.order import CalibrationOrder
from wconv_sweep.calibration.shapes import Choice, Machine
from wconv_sweep.evidence.calibration_record import Calibration, Round, Shape
from wconv_sweep.pilots.machine import free_memory_mb, usable_cores
from wconv_sweep.study.config import StudyConfig

NO_GPU = (
    "No GPU is here (torch.cuda.is_available() is false): nothing was measured. "
    "`--device cpu` tries the program out."
)
STEPS = 50_000
TESTS_S = 120
"""Of the time, for the tests."""

_EAGER: dict[str, Any] = {"memory_format": "contiguous", "amp": "none"}
_FAST: dict[str, Any] = {"memory_format": "channels_last", "amp": "none", "optimizer": "fused"}
_GRAPHS = _FAST | {"compile": "reduce-overhead"}


def _shape(keys: Mapping[str, Any], at_once: int = 1, **changes: Any) -> Shape:
    return Shape(**{"ranks": 1, **keys, "lanes": at_once, "per_gpu": at_once, **changes})


WAYS: dict[str, Shape] = {
    "one eager float32 trial at a time": _shape(_EAGER),
    "channels_last": _shape(_EAGER, memory_format="channels_last"),
    "and fused optimizer": _shape(_FAST),
    "and compiled": _shape(_FAST, compile=True),
    "and compiled, CUDA graphs": _shape(_GRAPHS),
    "2 eager trials per GPU": _shape(_EAGER, 2),
    "4 eager trials per GPU": _shape(_EAGER, 4),
    "8 eager trials per GPU": _shape(_EAGER, 8),
    "4 per GPU, channels_last, fused": _shape(_FAST, 4),
    "4 per GPU, and CUDA graphs": _shape(_GRAPHS, 4),
    "bfloat16: channels_last, fused, CUDA graphs": _shape(_GRAPHS, amp="bfloat16"),
    "bfloat16: the same, 4 per GPU": _shape(_GRAPHS, 4, amp="bfloat16"),
}
"""Those without bfloat16 give equal results up to rounding."""
COLUMNS = ("trials per hour, ratio [lowest, highest]", "steps/s of a trial", "memory of a trial")


def study(name: str, *, tiny: bool) -> StudyConfig:
    """Return the study of a row of `NETWORKS`; a tiny one has its layers, but few of them."""
    content: dict[str, Any] = {
        "schema": 1,
        "study": name,
        "kernel_size": 3,
        "search": {"bounds": [[0.8, 1.5]], "sampler": {"name": "qmc"}},
        "budget": {"trials": 10},
    }
    if name == "resnet56":
        content |= {
            "model": {"name": name, "options": {"num_classes": 4}},
            "data": {"name": "textures", "options": {"patch_px": 32, "patches_per_class": 400}},
            "recipe": {
                "optimizer": {"name": "sgd", "lr": 0.1, "momentum": 0.9, "weight_decay": 5e-4},
                "batch_size": 128,
            },
            "objective": {"metric": "accuracy"},
        }
        smaller: dict[str, Any] = {"depth": 8, "width": 4}
    else:
        content |= {
            "model": {"name": name, "options": {}},
            "data": {"name": "photographs", "options": {"crop_px": 40, "crops_per_epoch": 1600}},
            "recipe": {"optimizer": {"name": "adam", "lr": 1e-3}, "batch_size": 16},
            "objective": {"metric": "psnr_db"},
        }
        smaller = {"depth": 3, "width": 4}
    if tiny:
        content["model"]["options"] |= smaller
        content["recipe"]["batch_size"] = 8
    content["recipe"] |= {"epochs": 1, **_EAGER}
    return StudyConfig.model_validate(content)


NETWORKS = {
    "resnet56": "ResNet-56, 32 x 32 pixels, batch 128",
    "dncnn": "DnCNN of 17 layers, 40 x 40 pixels, batch 16",
}


def measure(
    name: str, ways: Sequence[str], device: str, *, seconds: float, rounds: int, limit_s: float
) -> Calibration | str:
    """Return what was measured of a network, or why nothing was."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        order = CalibrationOrder(
            folder=Path(folder),
            config=study(name, tiny=device == "cpu"),
            gpus=int(device == "cuda"),
            cpus=0,
            ranks=[1],
            compile=True,
            every=False,
            seconds=seconds,
            rounds=rounds,
            limit_s=limit_s,
        )
        machine = Machine(gpus=order.gpus, cores=usable_cores(), memory_mb=free_memory_mb())
        answer = measured(
            order, machine, Choice(wanted=[WAYS[way] for way in ways], left_out=[], untried=0)
        )
    if answer.calibration is None:
        return answer.problem
    found = answer.calibration
    for each in found.measured:
        each.rounds[:] = [_without_validation(one) for one in each.rounds]
    return found.model_copy(update={"steps_per_epoch": STEPS})


def _without_validation(one: Round) -> Round:
    return one.model_copy(update={"validation_s": 0.0})


def markdown(found: Mapping[str, Comparison | str | None]) -> str:
    """Return the tables of all networks; None where nothing was measured."""
    lines: list[str] = []
    for name, title in NETWORKS.items():
        comparison = found.get(name)
        lines += [
            f"{title}:" if not isinstance(comparison, str) else f"{title} ({comparison}):",
            "",
            f"| | {' | '.join(COLUMNS)} |",
            "|---|---|---|---|",
        ]
        measured_rows = comparison.rows if isinstance(comparison, Comparison) else ()
        rows = {row.shape: row for row in measured_rows}
        lines += [f"| {way} | {_cells(rows.get(shape))} |" for way, shape in WAYS.items()]
        lines.append("")
    return "\n".join(lines)


def _cells(row: Row | None) -> str:
    if row is None:
        return "not measured | | "
    ratio = f"{row.ratio.median:.2f} [{row.ratio.lowest:.2f}, {row.ratio.highest:.2f}]"
    memory = f"{row.rank_memory_bytes / 2**20:.0f} MiB"
    return f"{ratio} | {row.steps_per_s:.3g} | {memory}"


def run_tests() -> str:
    """Return the last line of pytest about the tests that need a GPU."""
    command = [sys.executable, "-m", "pytest", "-m", "gpu", "-q", "-p", "no:cacheprovider"]
    try:
        ended = subprocess.run(command, capture_output=True, text=True, timeout=TESTS_S)
    except subprocess.TimeoutExpired:
        return f"not ended after {TESTS_S} s"
    print(ended.stdout, file=sys.stderr)
    return (ended.stdout.strip().splitlines() or [ended.stderr.strip()])[-1]


def mps_runs() -> bool:
    """Return whether CUDA MPS runs: its control daemon listens in a folder that it is told."""
    folder = os.environ.get("CUDA_MPS_PIPE_DIRECTORY", "/tmp/nvidia-mps")
    return (Path(folder) / "control").exists()


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--output", type=Path, default=Path("build"))
    parser.add_argument("--minutes", type=float, default=8.0)
    parser.add_argument("--seconds", type=float, default=2.0, help="training time of each")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    wanted = parser.parse_args(arguments)
    began_s = time.monotonic()
    on_gpu = wanted.device == "cuda"
    if on_gpu and not torch.cuda.is_available():
        print(NO_GPU, file=sys.stderr)
        sys.exit(2)
    ways = list(dict.fromkeys([next(iter(WAYS)), *wanted.ways]))
    tests = run_tests() if on_gpu else "not run: they need a GPU"
    found: dict[str, Calibration | str] = {}
    for number, name in enumerate(wanted.networks):
        # A round that has begun is ended: the last measurement may take a minute, to compile.
        left_s = 60 * (wanted.minutes - 1) - (time.monotonic() - began_s)
        found[name] = measure(
            *(name, ways, wanted.device),
            seconds=wanted.seconds,
            rounds=wanted.rounds,
            limit_s=max(1.0, left_s / (len(wanted.networks) - number)),
        )
    compared = {
        name: each if isinstance(each, str) else compare(each, study(name, tiny=not on_gpu), 1)
        for name, each in found.items()
    }
    content = {
        "device": torch.cuda.get_device_name() if on_gpu else "cpu",
        "torch": torch.__version__,
        "mps": mps_runs(),
        "minutes": (time.monotonic() - began_s) / 60,
        "tests": tests,
        "networks": {
            name: {"problem": each} if isinstance(each, str) else each.model_dump(mode="json")
            for name, each in found.items()
        },
    }
    mps = "with CUDA MPS" if content["mps"] else "without CUDA MPS"
    title = f"{content['device']}, torch {content['torch']}, {mps}"
    text = f"{title}. Tests that need a GPU: {tests}.\n\n{markdown(compared)}"
    wanted.output.mkdir(parents=True, exist_ok=True)
    replace_file(wanted.output / "gpu.json", json.dumps(content, indent=2) + "\n")
    replace_file(wanted.output / "gpu.md", text)
    print(text)


if __name__ == "__main__":
    main()
