"""Plan jobs, train them in stacks and keep their directories."""
