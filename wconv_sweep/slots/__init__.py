"""The budget as rows: claims, leases, stages, retries; all changes are transactions."""
