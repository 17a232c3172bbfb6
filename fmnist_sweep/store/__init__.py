"""Write run directories, and read them as tables."""
