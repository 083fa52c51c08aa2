"""Checks everything that a study needs before it is launched, with a remedy for each problem."""
