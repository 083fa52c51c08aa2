"""Results of studies: exports, figures, reports, logs, the dashboard.

Columns of scores over fresh seeds are in `wconv_sweep.evidence.score_rows`, for every table that
shows them; those beside the paper's values are in `report.tables`.
"""
