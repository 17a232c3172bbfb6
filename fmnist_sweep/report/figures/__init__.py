"""Matplotlib figures of tables and curves, all in one style."""
