"""A small study of the sample, as a process of its own that a test may kill: python -m tests.study.small FOLDER."""

import sys
from dataclasses import replace
from pathlib import Path

from study.experiments import PAPER, PHOTOGRAPHS, Experiment
from study.pipeline import study

# Not from tests.conftest, which would bring TensorFlow into the process that is to need none.
SAMPLE = Path(__file__).parent.parent / "data" / "fashion_mnist_sample"
# Enough epochs for a kill to find some done and some not.
SMALL = [
    replace(each, config=replace(each.config, dataset=f"idx:{SAMPLE}", epochs=10, batch_size=8)) for each in PAPER[:3]
]
QUICK: list[Experiment] = [
    replace(SMALL[0], config=replace(SMALL[0].config, epochs=2, batch_size=32)),
    replace(PHOTOGRAPHS[0], config=replace(PHOTOGRAPHS[0].config, dataset=f"idx:{SAMPLE}", epochs=2), robust=True),
]

if __name__ == "__main__":
    print(study(SMALL, Path(sys.argv[1]), workers=2))
