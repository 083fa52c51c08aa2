"""Results of studies: exports, figures, reports, logs, the dashboard."""
