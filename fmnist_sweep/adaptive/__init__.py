"""Searches: a space of configurations, a study that asks and is told, what a trial is judged by. No torch here."""
