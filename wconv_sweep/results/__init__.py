"""What is taken home: exports, pictures, networks, reports, logs, the dashboard."""
