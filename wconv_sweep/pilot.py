"""`python -m wconv_sweep.pilot ORDER.json`: what every pilot runs."""

import sys

from wconv_sweep.agent import run_pilot


def main() -> None:
    """Work through the slots of the study that the order names."""
    run_pilot(sys.argv[1])


if __name__ == "__main__":
    main()
