"""Configuration: its schema, what makes two runs the same, and Hydra."""
