"""Selects the next density, and the trials that end early.

The keys of a sampler or a pruner are a class in `wconv_sweep.study.search_config`; `sampling` and
`pruning` build what the class names.
"""
