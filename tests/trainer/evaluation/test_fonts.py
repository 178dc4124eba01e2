"""Figures show names in every script that a font of the machine has, and say what none has."""

from pathlib import Path

import matplotlib
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from matplotlib import font_manager
from matplotlib.figure import Figure

from trainer.evaluation.fonts import fonts_for

RARE = "\N{CYPRO-MINOAN SIGN CM001}"  # of a script that Matplotlib's own fonts do not have


@pytest.fixture(autouse=True)
def no_fonts_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    own = [each for each in font_manager.fontManager.ttflist if each.fname.startswith(matplotlib.get_data_path())]
    monkeypatch.setattr(font_manager.fontManager, "ttflist", own)


def drawn(text: str, path: Path) -> bytes:
    """A picture of the text; a warning that a character is missing fails the test."""
    with fonts_for([text]):
        figure = Figure(figsize=(2, 1))
        figure.suptitle(text)
        figure.savefig(path)
    return path.read_bytes()


def make_font(path: Path, character: str) -> None:
    """A font whose only character is a filled triangle."""
    pen = TTGlyphPen(None)
    for at, move in enumerate(((0, 0), (800, 0), (400, 800))):
        (pen.lineTo if at else pen.moveTo)(move)
    pen.closePath()
    triangle = pen.glyph()
    font = FontBuilder(1000, isTTF=True)
    font.setupGlyphOrder([".notdef", "triangle"])
    font.setupCharacterMap({ord(character): "triangle"})
    font.setupGlyf({".notdef": triangle, "triangle": triangle})
    font.setupHorizontalMetrics({".notdef": (1000, 0), "triangle": (1000, 0)})
    font.setupHorizontalHeader(ascent=800, descent=-200)
    font.setupNameTable({"familyName": "Triangles", "styleName": "Regular"})
    font.setupOS2()
    font.setupPost()
    font.save(path)


def test_a_character_that_no_font_has_is_named_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert drawn(f"a{RARE}", tmp_path / "figure.png")
    assert capsys.readouterr().out == f"No font of this machine has {RARE}: figures show boxes instead.\n"


def test_a_font_of_the_machine_is_used_where_it_has_the_character(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    boxes = drawn(RARE, tmp_path / "boxes.png")
    capsys.readouterr()
    make_font(tmp_path / "triangles.ttf", RARE)
    font_manager.fontManager.addfont(tmp_path / "triangles.ttf")
    assert drawn(RARE, tmp_path / "triangles.png") != boxes
    assert capsys.readouterr().out == ""


def test_names_in_latin_and_cyrillic_need_no_other_font(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert drawn("собака café", tmp_path / "figure.png")
    assert capsys.readouterr().out == ""


def test_a_name_that_looks_like_a_broken_formula_is_drawn_as_text(tmp_path: Path) -> None:
    assert drawn(r"$\frac$", tmp_path / "figure.png")
