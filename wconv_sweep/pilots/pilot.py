"""The program of a pilot on one node: `python -m wconv_sweep.pilots.pilot ORDER.json`."""

import sys

from wconv_sweep import garbage


def main() -> None:
    """Run the pilot that the file on the command line orders."""
    if len(sys.argv) != 2:
        sys.exit("usage: python -m wconv_sweep.pilots.pilot ORDER.json")
    garbage.look_rarely()
    # Imported here: most objects of a pilot are made by these imports.
    from wconv_jobs.ranks.fork_server import start_fork_server

    # Before the agent loads its own program: both take two seconds of a core, side by side.
    start_fork_server()
    from wconv_sweep.errors import WconvSweepError
    from wconv_sweep.pilots.running import run_pilot

    try:
        run_pilot(sys.argv[1])
    except WconvSweepError as error:
        print(f"wconv-sweep: {error}", file=sys.stderr)
        sys.exit(error.exit_status)


if __name__ == "__main__":
    main()
