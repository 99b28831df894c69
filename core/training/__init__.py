"""The one training loop, and the child processes that run it."""
