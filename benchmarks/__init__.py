"""Side-by-side measurements, run by hand or by `make bench`: ratios between things measured in turn in one run."""
