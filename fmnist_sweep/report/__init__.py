"""The report on a paper from the runs of a store: judge the claims, then draw figures and write a page.

The subpackage `texts` holds every word that a reader sees.
"""
