"""Floors: a file imports from its own room or from the rooms below it, never from above or beside."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

# For each room, the other rooms of this project that it may import.
MAY_IMPORT: dict[str, set[str]] = {
    "registry": set(),
    "trainer": {"registry"},
    "tuning": {"trainer", "registry"},
    "study": {"tuning", "trainer", "registry"},
    "serving": {"registry"},
    "deploy": {"registry"},
}

# Libraries that a room does without, so that it stays light.
MAY_NOT_IMPORT: dict[str, set[str]] = {
    "registry": {"numpy", "tensorflow", "keras", "flask"},
    "deploy": {"numpy", "tensorflow", "keras", "flask"},
    "trainer": {"flask", "gunicorn"},
    "study": {"flask", "gunicorn"},
    "serving": {"keras", "tensorflow_datasets", "keras_tuner", "matplotlib", "sklearn"},
}


def rooms() -> list[str]:
    return [room for room in MAY_IMPORT if (ROOT / room).is_dir()]


def imports(file: Path) -> set[str]:
    """Top-level packages that a file imports anywhere: at its head, in a function, or by name."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: imports are written absolute"
            found.add(str(node.module).split(".")[0])
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            found |= {str(arg.value).split(".")[0] for arg in node.args if isinstance(arg, ast.Constant)}
    return found


@pytest.mark.parametrize("room", rooms())
def test_a_room_imports_only_from_below(room: str) -> None:
    above = set(MAY_IMPORT) - MAY_IMPORT[room] - {room}
    for file in (ROOT / room).rglob("*.py"):
        breaches = imports(file) & (above | MAY_NOT_IMPORT.get(room, set()))
        assert not breaches, f"{file.relative_to(ROOT)} imports {sorted(breaches)}"


def test_only_the_predictor_imports_tensorflow_in_serving() -> None:
    files = {file.name for file in (ROOT / "serving").rglob("*.py") if "tensorflow" in imports(file)}
    assert files == {"predictor.py"}


def test_no_room_is_a_junk_drawer() -> None:
    forbidden = {"common", "utils", "util", "helpers", "base", "misc"}
    for room in rooms():
        for path in (ROOT / room).rglob("*.py"):
            assert path.stem not in forbidden, f"{path.relative_to(ROOT)} has no one purpose"


def test_every_file_says_what_it_is_for() -> None:
    for room in rooms():
        for file in (ROOT / room).rglob("*.py"):
            assert ast.get_docstring(ast.parse(file.read_text())), f"{file.relative_to(ROOT)} has no docstring"
