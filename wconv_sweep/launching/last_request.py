"""Remembers the request of the last launch in the run folder, for `resume`."""

import json
from dataclasses import asdict, fields

from wconv_jobs.files.atomic import replace_file
from wconv_sweep.clusters.pilot_request import PilotRequest
from wconv_sweep.run_folder import RunFolder

_FILE = "request.json"


def save_request(folder: RunFolder, request: PilotRequest) -> None:
    """Save the request of a launch."""
    replace_file(folder.pilots / _FILE, json.dumps(asdict(request), indent=2) + "\n")


def last_request(folder: RunFolder) -> PilotRequest:
    """Return the request of the last launch; an empty one if there was none."""
    try:
        content = json.loads((folder.pilots / _FILE).read_text("utf-8"))
    except FileNotFoundError:
        return PilotRequest()
    known = {field.name for field in fields(PilotRequest)}
    return PilotRequest(**{name: value for name, value in content.items() if name in known})


def or_else(request: PilotRequest, other: PilotRequest) -> PilotRequest:
    """Return a request whose gaps are filled from another one, among options of sbatch each."""
    mine, others = asdict(request), asdict(other)
    filled = {name: others[name] if mine[name] is None else mine[name] for name in mine}
    return PilotRequest(**filled | {"sbatch": others["sbatch"] | mine["sbatch"]})
