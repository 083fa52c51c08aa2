"""The test job: `python -m wconv_sweep.doctor.node_probe PROBE.json`, started as pilots are."""

import platform
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from pydantic import Field
from sqlalchemy import URL, make_url

import wconv_sweep
from wconv_jobs.files.atomic import replace_file
from wconv_jobs.spec_base import Spec
from wconv_sweep.doctor.checks import Area, Check, examine, right, warning, wrong
from wconv_sweep.doctor.database import clock_ahead_s, database_checks
from wconv_sweep.errors import StorageError
from wconv_sweep.pilots.own_name import REMEDY, SLOW_S, look_up_own_name
from wconv_sweep.storage.url import is_sqlite

MODULE = "wconv_sweep.doctor.node_probe"
GROUP_S = 150.0
"""Time for the GPUs to find each other; the import of torch may take half of it."""


class NodeProbe(Spec):
    """What the test job checks on a node."""

    folder: Path = Field(strict=False)
    """Gets the report; holds the file of the login node."""
    code: Path = Field(strict=False)
    """The frozen program to import."""
    storage: str | None
    """URL, without a password; null: it was not found."""
    nodes: int
    """Number of nodes of all pilots together."""
    gpus_used_per_node: int
    """GPUs that the job has requested."""

    @property
    def greeting(self) -> Path:
        """A file of the login node."""
        return self.folder / "greeting"

    @property
    def report(self) -> Path:
        return self.folder / "report.json"


class NodeReport(Spec):
    """The report of the node."""

    host: str
    greeting: str | None
    """Content of the login node's file as read here; null: it was not readable."""
    now_s: float
    """The node's clock, seconds since 1970."""
    ahead_s: float | None
    """Lead of the database's clock over it; null: unknown."""
    checks: list[Check]


def report_on(probe: NodeProbe) -> NodeReport:
    """Check everything that a pilot needs on this node."""
    host = platform.node().split(".")[0]
    url = make_url(probe.storage) if probe.storage else None
    areas = [
        Area("program", lambda: _program(probe)),
        Area("name", _own_name),
        Area("GPUs", lambda: _gpus(probe), limit_s=None),
    ]
    if url is not None:
        areas.append(Area("storage", lambda: database_checks(lambda: url, probe.nodes)))
    checks = [
        Check(check.mark, f"on {host}: {check.what}", check.remedy) for _, check in examine(areas)
    ]
    try:
        greeting = probe.greeting.read_text("utf-8")
    except OSError:
        greeting = None
    return NodeReport(
        host=host,
        greeting=greeting,
        now_s=time.time(),
        ahead_s=_ahead_s(url),
        checks=checks,
    )


def _program(probe: NodeProbe) -> Iterator[Check]:
    there = Path(wconv_sweep.__file__).resolve()
    python = f"Python {platform.python_version()}"
    if there.is_relative_to(probe.code.resolve()):
        yield right(f"program imported from the frozen copy, {python}")
    else:
        yield warning(
            f"program imported from {there.parent}, not from the frozen copy",
            "Something puts a folder before PYTHONPATH. Check setup and modules of the profile.",
        )


def _own_name() -> Iterator[Check]:
    took_s = look_up_own_name()
    if took_s >= SLOW_S:
        yield warning(f"its own name was found after {took_s:.0f} s", REMEDY)


def _gpus(probe: NodeProbe) -> Iterator[Check]:
    # Imported here: a failing import of torch is one of the answers.
    from wconv_jobs.ranks.gpu_check import gpu_group

    group = gpu_group(GROUP_S)
    what = f"torch {group.torch}, "
    found = len(group.gpus)
    if found < probe.gpus_used_per_node:
        yield wrong(
            f"{what}{f'{found} of {probe.gpus_used_per_node} GPUs' if found else 'no GPU'}",
            f"The job has requested {probe.gpus_used_per_node} GPU(s). Install a torch that knows "
            "this site's GPUs (its modules may load CUDA or ROCm), or change gpu_flag or "
            "gpus_used_per_node in the profile.",
        )
    elif found:
        yield right(f"{what}{found} x {group.gpus[0]}")
    else:
        yield right(f"{what}no GPU, and none is requested")
    if group.problem:
        yield wrong(
            f"{group.backend}: {group.ranks} processes did not sum their numbers",
            f"{group.problem}. NCCL_SOCKET_IFNAME in env of the profile may have to name the "
            "network; NCCL_DEBUG=INFO there says more.",
        )
    else:
        yield right(f"{group.backend}: {group.ranks} processes summed their numbers")


def _ahead_s(url: URL | None) -> float | None:
    # An SQLite file has no clock of its own.
    if url is None or is_sqlite(url):
        return None
    try:
        return clock_ahead_s(url)
    except StorageError:
        return None


def main() -> None:
    """Write the report atomically."""
    probe = NodeProbe.model_validate_json(Path(sys.argv[1]).read_text("utf-8"))
    replace_file(probe.report, report_on(probe).model_dump_json())


if __name__ == "__main__":
    main()
