"""The options for jobs, shared by all commands that submit or check them.

Decorators give them to a command, which gets one object with all of them.
"""

import functools
import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wconv_sweep.cli.help_sections import PILOTS
from wconv_sweep.cli.options import minutes_of

if TYPE_CHECKING:
    from wconv_sweep.clusters.pilot_request import JobRequest, PilotRequest

SLURM = "On a SLURM cluster"
_WITH_JOB = "With --job"

Wait = Annotated[
    float,
    typer.Option(
        "--wait",
        min=0,
        metavar="MINUTES",
        rich_help_panel=PILOTS,
        help=f"{SLURM}: time after which a queued job is canceled.",
    ),
]

_PILOTS: dict[str, Any] = {
    "pilots": Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            rich_help_panel=PILOTS,
            help="Number of pilots to keep running or queued, including earlier ones (default: "
            "from the profile).",
        ),
    ],
    "nodes": Annotated[
        int | None,
        typer.Option(
            min=1, metavar="N", rich_help_panel=PILOTS, help=f"{SLURM}: nodes of each pilot."
        ),
    ],
    "time": Annotated[
        str | None,
        typer.Option(
            "--time",
            metavar="TIME",
            rich_help_panel=PILOTS,
            help="Time limit of each pilot as in SLURM: minutes, 24:00:00 or 2-00:00:00.",
        ),
    ],
    "qos": Annotated[
        str | None,
        typer.Option(metavar="NAME", rich_help_panel=PILOTS, help=f"{SLURM}: quality of service."),
    ],
    "account": Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            rich_help_panel=PILOTS,
            help=f"{SLURM}: account to charge (default: WCONV_SWEEP_ACCOUNT).",
        ),
    ],
    "partition": Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            rich_help_panel=PILOTS,
            help=f"{SLURM}: partition, or several as A,B (default: from the profile).",
        ),
    ],
    "sbatch": Annotated[
        list[str] | None,
        typer.Option(
            "--sbatch",
            metavar="KEY=VALUE",
            rich_help_panel=PILOTS,
            help=f"{SLURM}: a further option of sbatch, e.g. reservation=course, or contiguous; "
            "KEY= takes away that of the profile; repeatable.",
        ),
    ],
}
_SERVER: dict[str, Any] = {
    "time": Annotated[
        str | None,
        typer.Option(
            "--time",
            metavar="TIME",
            help=f"{_WITH_JOB}: its time limit, as for launch (default: 24:00:00).",
        ),
    ],
    "account": Annotated[
        str | None, typer.Option(metavar="NAME", help=f"{_WITH_JOB}: account to charge.")
    ],
    "partition": Annotated[
        str | None,
        typer.Option(metavar="NAME", help=f"{_WITH_JOB}: partition (default: that of the site)."),
    ],
    "qos": Annotated[
        str | None, typer.Option(metavar="NAME", help=f"{_WITH_JOB}: quality of service.")
    ],
    "sbatch": Annotated[
        list[str] | None,
        typer.Option(
            "--sbatch",
            metavar="KEY=VALUE",
            help=f"{_WITH_JOB}: a further option of sbatch, as for launch; repeatable.",
        ),
    ],
}

_MEASUREMENT: dict[str, Any] = {
    name: option for name, option in _PILOTS.items() if name not in ("pilots", "nodes")
} | {
    "time": Annotated[
        str | None,
        typer.Option(
            "--time",
            metavar="TIME",
            rich_help_panel=PILOTS,
            help="Time limit as in SLURM (default: 30 minutes); rounds that do not fit are left "
            "out.",
        ),
    ],
}

Command = Callable[..., None]


def takes_pilot_options(command: Command) -> Command:
    """Give a command the options for pilots in place of its parameter `request`."""
    return _with_options(command, _PILOTS, _pilot_request)


def takes_measurement_options(command: Command) -> Command:
    """Give a command the options for one short job in place of its parameter `request`."""
    request_of = functools.partial(_pilot_request, pilots=None, nodes=None)
    return _with_options(command, _MEASUREMENT, request_of)


def takes_server_options(command: Command) -> Command:
    """Give a command the options for the job of a server in place of its parameter `request`."""
    return _with_options(command, _SERVER, _job_request)


def _with_options(
    command: Command, options: dict[str, Any], request_of: Callable[..., Any]
) -> Command:
    own = inspect.signature(command, eval_str=False)
    parameters: list[inspect.Parameter] = []
    for parameter in own.parameters.values():
        if parameter.name != "request":
            parameters.append(parameter)
            continue
        parameters += [
            inspect.Parameter(name, parameter.kind, default=None, annotation=annotation)
            for name, annotation in options.items()
        ]

    @functools.wraps(command)
    def call(**given: Any) -> None:
        values = {name: given.pop(name) for name in options}
        command(request=request_of(**values), **given)

    # Typer reads both.
    call.__signature__ = own.replace(parameters=parameters)  # type: ignore[attr-defined]
    call.__annotations__ = {each.name: each.annotation for each in parameters} | {"return": None}
    return call


def _pilot_request(pilots: int | None, nodes: int | None, **job: Any) -> "PilotRequest":
    from wconv_sweep.clusters.pilot_request import PilotRequest

    return PilotRequest(pilots=pilots, nodes=nodes, **_job_values(**job))


def _job_request(**job: Any) -> "JobRequest":
    from wconv_sweep.clusters.pilot_request import JobRequest

    return JobRequest(**_job_values(**job))


def _job_values(
    time: str | None,
    qos: str | None,
    account: str | None,
    partition: str | None,
    sbatch: list[str] | None,
) -> dict[str, Any]:
    from wconv_sweep.slurm.sbatch_options import parse_option

    return {
        "walltime_min": None if time is None else minutes_of("--time", time),
        "qos": qos,
        "account": account,
        "partition": partition,
        "sbatch": dict(map(parse_option, sbatch or ())),
    }
