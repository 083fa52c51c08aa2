"""Selects the next density, and the trials that end early."""
