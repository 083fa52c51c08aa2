"""Conclusions from the stored trials: status, costs, surrogate, statistics, confirmation."""
