"""What a trained model gets right: metrics, calibration, robustness, novelty, and the figures of a run."""
