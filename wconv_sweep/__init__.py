"""The orchestrator: studies, the slot table, pilots and agents, and the command line.

Nothing in this package imports torch, except the agent when it starts the ranks of a trial.
"""
