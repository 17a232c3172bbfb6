"""Stacks of networks and their training: the only package that computes with torch."""
