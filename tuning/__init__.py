"""Searches for settings of the trainer: keras-tuner proposes, the trainer trains, the best is retrained and pushed."""
