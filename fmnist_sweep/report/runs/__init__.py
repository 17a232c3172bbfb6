"""Run directories to tables and curves. Reads only: never trains, loads a checkpoint or executes what it finds."""
