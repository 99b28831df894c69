"""Every rung of language-model adaptation on the same data, and the lowest that is good enough."""

__version__ = "0.1.0"
