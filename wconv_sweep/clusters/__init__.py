"""Cluster profiles: facts with sources, the limits and the prices of a site.

The keys of a profile are in `profile`, the tables of facts inside it (`partition`, `billing`, ...)
in `site_facts`; `site_profile` writes the profile of a site for `clusters init`.
"""
