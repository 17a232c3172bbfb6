"""Everything on one HTML page that needs no other file and asks the network for nothing."""
