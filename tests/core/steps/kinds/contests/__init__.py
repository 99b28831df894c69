"""The steps of a promotion as fakes: the version asked for says how it ends."""
