"""`python -m wconv_sweep`, the same as the command wconv-sweep."""

from wconv_sweep.cli import main

if __name__ == "__main__":
    main()
