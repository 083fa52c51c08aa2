"""The options for pilots, shared by all commands that start or check them."""

from typing import TYPE_CHECKING, Annotated

import typer

from wconv_sweep.cli.help_sections import PILOTS
from wconv_sweep.cli.options import minutes_of

if TYPE_CHECKING:
    from wconv_sweep.clusters.pilot_request import PilotRequest

SLURM = "On a SLURM cluster"

Pilots = Annotated[
    int | None,
    typer.Option(
        min=1,
        metavar="N",
        rich_help_panel=PILOTS,
        help="Number of pilots to keep running or queued, including earlier ones (default: from "
        "the profile).",
    ),
]
Nodes = Annotated[
    int | None,
    typer.Option(
        min=1, metavar="N", rich_help_panel=PILOTS, help=f"{SLURM}: nodes of each pilot."
    ),
]
Time = Annotated[
    str | None,
    typer.Option(
        "--time",
        metavar="TIME",
        rich_help_panel=PILOTS,
        help="Time limit of each pilot as in SLURM: minutes, 24:00:00 or 2-00:00:00.",
    ),
]
Qos = Annotated[
    str | None,
    typer.Option(metavar="NAME", rich_help_panel=PILOTS, help=f"{SLURM}: quality of service."),
]
Account = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        rich_help_panel=PILOTS,
        help=f"{SLURM}: account to charge (default: WCONV_SWEEP_ACCOUNT).",
    ),
]
Partition = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        rich_help_panel=PILOTS,
        help=f"{SLURM}: partition (default: from the profile).",
    ),
]


def request_of(
    pilots: int | None,
    nodes: int | None,
    time: str | None,
    qos: str | None,
    account: str | None,
    partition: str | None,
) -> "PilotRequest":
    """Return what the options of a launch ask for."""
    from wconv_sweep.clusters.pilot_request import PilotRequest

    walltime_min = None if time is None else minutes_of("--time", time)
    return PilotRequest(
        pilots=pilots,
        nodes=nodes,
        walltime_min=walltime_min,
        qos=qos,
        account=account,
        partition=partition,
    )
