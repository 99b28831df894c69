"""Scorers at work: in a process of their own, with a time limit for each answer."""
