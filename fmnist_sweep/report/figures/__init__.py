"""Tables and curves to matplotlib figures, all in one style."""
