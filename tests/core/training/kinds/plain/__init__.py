"""Step kinds that need no model: each does one thing that a child may do."""
