"""Serving room: SavedModels behind HTTP. It imports the registry alone; the contract is the artifact."""
