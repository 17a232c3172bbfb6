"""What the runs of a store show of a paper: runs -> judging -> drawing and page; texts hold every word."""
