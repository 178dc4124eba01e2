"""Folders of drawn pictures, as users bring them: shapes and textures at random places and in random colours."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

SIDE = 32
TEXTURES = ("rows", "columns", "diagonals", "checks", "dots")
HUES = ("red", "green", "blue", "orange", "purple", "gray")


def shapes(root: Path, counts: dict[str, int], first: int = 0) -> Path:
    """Pictures of circles, squares, triangles and crosses: so many of each, numbered from `first`."""
    return _folder(root, counts, _shape, first)


def textures(root: Path, count: int) -> Path:
    """Pictures of 30 classes, five textures in six colours: `count` of each."""
    return _folder(root, {f"{hue} {texture}": count for hue in HUES for texture in TEXTURES}, _texture, 0)


def _folder(root: Path, counts: dict[str, int], draw: Callable[..., Image.Image], first: int) -> Path:
    for index, (name, count) in enumerate(counts.items()):
        (root / name).mkdir(parents=True, exist_ok=True)
        for number in range(first, first + count):
            draw(name, np.random.default_rng([index, number])).save(root / name / f"{number}.png")
    return root


def _background(random: np.random.Generator) -> Image.Image:
    levels = random.normal(random.integers(180, 240), 8, (SIDE, SIDE, 3))
    return Image.fromarray(levels.clip(0, 255).astype(np.uint8))


def _shape(name: str, random: np.random.Generator) -> Image.Image:
    picture = _background(random)
    pen, colour = ImageDraw.Draw(picture), tuple(random.integers(0, 140, 3).tolist())
    r = int(random.integers(SIDE // 5, SIDE // 3))
    x, y = random.integers(r + 2, SIDE - r - 2, 2).tolist()
    if name == "circle":
        pen.ellipse((x - r, y - r, x + r, y + r), fill=colour)
    elif name == "square":
        pen.rectangle((x - r, y - r, x + r, y + r), fill=colour)
    elif name == "triangle":
        pen.polygon([(x, y - r), (x - r, y + r), (x + r, y + r)], fill=colour)
    else:
        pen.line((x - r, y, x + r, y), fill=colour, width=4)
        pen.line((x, y - r, x, y + r), fill=colour, width=4)
    return picture


def _texture(name: str, random: np.random.Generator) -> Image.Image:
    hue, texture = name.split()
    picture = _background(random)
    pen, step, start = ImageDraw.Draw(picture), int(random.integers(8, 12)), int(random.integers(0, 8))
    for at in range(start - SIDE, SIDE, step):
        if texture == "rows":
            pen.line((0, at, SIDE, at), fill=hue, width=3)
        elif texture == "columns":
            pen.line((at, 0, at, SIDE), fill=hue, width=3)
        elif texture == "diagonals":
            pen.line((at, 0, at + SIDE, SIDE), fill=hue, width=3)
        else:
            for x in range(start, SIDE, step):
                half = step // 2 if texture == "checks" else 2
                box = (x, at, x + half, at + half)
                (pen.rectangle if texture == "checks" else pen.ellipse)(box, fill=hue)
    return picture
