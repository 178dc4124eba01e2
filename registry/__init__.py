"""Registry room: model versions on disk. Standard library only, so that every other room may stand on it."""
