"""Options that say what pilots are asked for, of all commands that start or examine them."""

from typing import TYPE_CHECKING, Annotated

import typer

from wconv_sweep.cli.options import minutes_of

if TYPE_CHECKING:
    from wconv_sweep.clusters.pilot_request import PilotRequest

SLURM = "On a SLURM cluster"

Pilots = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Pilots that shall be at work or wait at the same time; those of earlier calls "
        "count. If left out: as the profile says.",
    ),
]
Nodes = Annotated[int | None, typer.Option(min=1, help=f"{SLURM}: nodes of each pilot.")]
Time = Annotated[
    str | None,
    typer.Option(
        "--time",
        metavar="TIME",
        help="Time limit of each pilot as SLURM writes it: minutes, 24:00:00 or 2-00:00:00.",
    ),
]
Qos = Annotated[str | None, typer.Option(help=f"{SLURM}: quality of service.")]
Account = Annotated[
    str | None,
    typer.Option(help=f"{SLURM}: project that pays; if left out: WCONV_SWEEP_ACCOUNT."),
]
Partition = Annotated[
    str | None, typer.Option(help=f"{SLURM}: partition, where it is not that of the profile.")
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
