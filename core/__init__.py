"""The engine of Stepladder: it knows methods, data, models and figures, and no orchestrator."""
