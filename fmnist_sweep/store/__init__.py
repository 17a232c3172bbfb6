"""Run directories and the tables read from them."""
