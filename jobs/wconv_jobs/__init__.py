"""One training run with a density: model, data, recipe, ranks, checkpoints and metrics.

Knows no study, no scheduler and no database. Importing this package does not import torch, so that
the orchestrator can build a `wconv_jobs.spec.TrialSpec` on a login node.
"""
