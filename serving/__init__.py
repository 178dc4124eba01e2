"""Serves pushed SavedModels over HTTP. It imports `registry` and `decoding`, never the trainer."""
