"""The networks and their training. No other package computes with torch."""
