"""The configuration: its schema, the identity of runs, and the connection to Hydra."""
