"""From an evaluated model to a pushed version: the export, the gate's checks, the model card, the push."""
