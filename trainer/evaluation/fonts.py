"""Fonts for names on figures: matplotlib's own lacks, among others, Chinese, Japanese and Korean characters."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from matplotlib import rc_context
from matplotlib.font_manager import findfont, fontManager, get_font

OWN = "DejaVu Sans"
LAST_RESORT = "Last Resort"  # comes with matplotlib, and has boxes for every character


@contextmanager
def fonts_for(texts: Iterable[str]) -> Iterator[None]:
    """Until the end of the block, figures show the texts as they are, also in fonts of this machine.

    Says which characters no font has: in their place figures show boxes.
    """
    families = [OWN]
    missing = {character for character in "".join(texts) if ord(character) not in _characters(findfont(OWN))}
    for font in fontManager.ttflist if missing else ():
        if font.name.startswith(LAST_RESORT):
            continue
        if found := {character for character in missing if ord(character) in _characters(font.fname)}:
            families.append(font.name)
            missing -= found
    # A name may have dollar signs in it, which matplotlib would take for the marks of a formula.
    with rc_context({"font.family": families, "text.parse_math": False}), warnings.catch_warnings():
        if missing:
            print(f"No font of this machine has {''.join(sorted(missing))}: figures show boxes instead.", flush=True)
            warnings.filterwarnings("ignore", r"Glyph \d+ ", UserWarning)
        yield


def _characters(path: str) -> Iterable[int]:
    font = get_font(path)
    return font.get_charmap() if font.scalable else ()  # matplotlib cannot draw with fonts of fixed sizes, as of emoji
