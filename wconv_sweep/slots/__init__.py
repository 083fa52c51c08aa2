"""The budget as rows: claiming, leases, stages, retries; all changes are transactions."""
