"""The sections of `--help`: panels for commands with many options, arguments without their types.

Typer draws panels only with rich, which breaks words at 80 columns and makes `--help` slower.
"""

from typing import Any

from typer.core import TyperCommand

STUDY = "Study"
PILOTS = "Pilots and SLURM"
STORAGE = "Storage"
OUTPUT = "Output"
OTHER = "Other"
PANELS = (STUDY, PILOTS, STORAGE, OUTPUT, OTHER)


class CommandWithPanels(TyperCommand):
    """A command whose `--help` groups the options by their `rich_help_panel`."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the options to the formatter, one section per panel."""
        panels: dict[str, list[tuple[str, str]]] = {panel: [] for panel in PANELS}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None:
                panels[getattr(parameter, "rich_help_panel", None) or OTHER].append(record)
        _write(formatter, panels)


class CommandWithArguments(TyperCommand):
    """A command whose `--help` shows its arguments by their `metavar` alone."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the arguments and the options to the formatter."""
        sections: dict[str, list[tuple[str, str]]] = {"Arguments": [], "Options": []}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is None:
                continue
            if parameter.param_type_name == "argument":
                # Typer appends the type to the metavar of an argument, but not of an option.
                sections["Arguments"].append((str(parameter.metavar), record[1]))
            else:
                sections["Options"].append(record)
        _write(formatter, sections)


def _write(formatter: Any, sections: dict[str, list[tuple[str, str]]]) -> None:
    for title, records in sections.items():
        if records:
            with formatter.section(title):
                formatter.write_dl(records)
