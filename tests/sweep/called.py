"""The program of a process that calls one function: `python -m tests.sweep.called FILE`."""

import pickle
import sys
from pathlib import Path


def main() -> None:
    """Call what a file holds, and write what was returned into its place."""
    call = Path(sys.argv[1])
    function, arguments = pickle.loads(call.read_bytes())
    call.write_bytes(pickle.dumps(function(*arguments)))


if __name__ == "__main__":
    main()
