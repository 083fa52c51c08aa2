"""The command wconv-sweep, also as `python -m wconv_sweep`."""

import signal
import sys

from wconv_sweep import garbage


def main() -> None:
    """Run the command line; Ctrl-C ends it without a traceback, also during imports."""
    garbage.look_rarely()
    try:
        # Imported here: it takes a moment, and Ctrl-C may come meanwhile.
        from wconv_sweep.cli import app as cli

        cli.main()
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)


if __name__ == "__main__":
    main()
