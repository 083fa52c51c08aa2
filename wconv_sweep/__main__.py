"""The command wconv-sweep, also as `python -m wconv_sweep`."""

import signal
import sys


def main() -> None:
    """Run the command line; Ctrl-C ends it without a traceback, also while it is being loaded."""
    try:
        # Imported here: it takes a moment, in which Ctrl-C may come.
        from wconv_sweep.cli import app as cli

        cli.main()
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)


if __name__ == "__main__":
    main()
