"""The budget as rows: open slots, leases, stages, retries; all changes are transactions."""
