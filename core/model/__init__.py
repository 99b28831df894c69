"""Base models: where they are found, how they are loaded, and the engine that trains, scores and writes."""
