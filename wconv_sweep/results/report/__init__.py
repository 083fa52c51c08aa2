"""The tables of the paper with our results beside the published values."""
