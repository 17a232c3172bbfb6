"""Choose what to train next from results: more seeds for open claims, or a search. Nothing here imports torch."""
