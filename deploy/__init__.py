"""Containers and clusters: what builds the images, and the files that run them elsewhere. Nothing imports it."""
