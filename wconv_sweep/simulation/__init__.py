"""Synthetic studies, to choose a budget before GPU-hours are spent."""
