"""Cluster profiles: facts with sources, what a site would refuse, what it bills."""
