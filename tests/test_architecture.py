"""Layers: a file imports from its own layer or from those below it, never from above or beside, and in no circle."""

import ast
import re
import sys
import tomllib
from graphlib import CycleError, TopologicalSorter
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

# For each package, the other packages of this project that it may import.
MAY_IMPORT: dict[str, set[str]] = {
    "registry": set(),
    "decoding": set(),
    "trainer": {"registry", "decoding"},
    "tuning": {"trainer", "registry"},
    "study": {"trainer", "registry"},
    "serving": {"registry", "decoding"},
    "deploy": {"registry"},
}

# The trainer's own layers, from the lowest to the highest: folders and files.
TRAINER = (
    {"config", "recipes", "backend", "devices", "supervise"},
    {"data", "models"},
    {"training", "evaluation"},
    {"release"},
    {"adaptation", "prepare", "options"},
    {"run"},
    {"pipeline"},
    {"advice", "report"},
    {"imported"},
    {"__main__"},
)

# Libraries that a package does without, so that it stays light.
MAY_NOT_IMPORT: dict[str, set[str]] = {
    "registry": {"numpy", "tensorflow", "keras", "flask"},
    "decoding": {"tensorflow", "keras", "flask"},
    "deploy": {"numpy", "tensorflow", "keras", "flask"},
    "trainer": {"flask", "gunicorn"},
    "study": {"flask", "gunicorn"},
    "serving": {"keras", "tensorflow_datasets", "keras_tuner", "matplotlib", "sklearn"},
}


def imported(file: Path) -> set[str]:
    """Dotted names that a file imports anywhere: at its head, in a function, or by name."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: imports are written absolute"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            found |= {str(arg.value) for arg in node.args if isinstance(arg, ast.Constant)}
    return found


def imports(file: Path) -> set[str]:
    """Top-level packages that a file imports."""
    return {name.split(".")[0] for name in imported(file)}


def graph() -> dict[str, set[str]]:
    """Every file of the project's packages by its dotted name, and those that it imports."""
    files = {
        ".".join(file.relative_to(ROOT).with_suffix("").parts): file
        for package in (*MAY_IMPORT, "benchmarks")
        for file in (ROOT / package).rglob("*.py")
    }
    # `from a.b import c` imports the file a/b/c.py, or else something in a/b.py.
    return {
        name: {found if found in files else found.rpartition(".")[0] for found in imported(file)} & files.keys()
        for name, file in files.items()
    }


def layer(name: str) -> int:
    """The place in TRAINER of a file of the trainer."""
    (found,) = (at for at, layer in enumerate(TRAINER) if name.split(".")[1] in layer)
    return found


def test_no_files_import_each_other_in_a_circle() -> None:
    try:
        list(TopologicalSorter(graph()).static_order())
    except CycleError as error:
        pytest.fail(f"A circle of imports: {' -> '.join(error.args[1])}")


def test_a_file_of_the_trainer_imports_only_from_its_own_layer_or_from_below() -> None:
    for name, others in graph().items():
        for other in others:
            if name.startswith("trainer.") and other.startswith("trainer.") and "__init__" not in name:
                assert layer(other) <= layer(name), f"{name} imports {other}, which is above it"


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_a_package_imports_only_from_below(package: str) -> None:
    above = set(MAY_IMPORT) - MAY_IMPORT[package] - {package}
    for file in (ROOT / package).rglob("*.py"):
        breaches = imports(file) & (above | MAY_NOT_IMPORT.get(package, set()))
        assert not breaches, f"{file.relative_to(ROOT)} imports {sorted(breaches)}"


def test_the_trainer_needs_no_more_than_its_extra_installs() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    installed = {re.match(r"[\w-]+", each).group().replace("_", "-") for each in extras["train"]}
    distributions = packages_distributions()
    found = {name for file in (ROOT / "trainer").rglob("*.py") for name in imports(file)}
    ours = {"trainer", *MAY_IMPORT["trainer"]}
    # jax is an extra of its own; _typeshed is imported for the type checker only, which brings it.
    others = found - set(sys.stdlib_module_names) - ours - {"jax", "_typeshed"}
    assert "sklearn" in others
    for name in others:
        known = {each.lower().replace("_", "-") for each in distributions[name]}
        assert known & installed, f"{name} is imported, and `train` installs none of {known}"


def test_one_file_alone_imports_tensorflow_in_serving() -> None:
    (_,) = (file for file in (ROOT / "serving").rglob("*.py") if "tensorflow" in imports(file))


def private_parts(file: Path) -> set[str]:
    """Underscore attributes of anything but `self`, and modules that a library keeps to itself."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Attribute) and re.match("_[^_]", node.attr):
            found.add(ast.unparse(node))
        elif isinstance(node, ast.ImportFrom) and re.search(r"\.(src|_[^_]+)\b", str(node.module)):
            found.add(str(node.module))
    return {each for each in found if not each.startswith(("self.", "cls."))} - {"os._exit"}  # which is documented


def test_private_parts_of_other_libraries_are_used_in_one_file_alone() -> None:
    files = (file for package in MAY_IMPORT for file in (ROOT / package).rglob("*.py"))
    assert [file.relative_to(ROOT).as_posix() for file in files if private_parts(file)] == ["tuning/oracles.py"]


def test_every_file_has_one_purpose() -> None:
    forbidden = {"common", "utils", "util", "helpers", "base", "misc"}
    for package in MAY_IMPORT:
        for path in (ROOT / package).rglob("*.py"):
            assert path.stem not in forbidden, f"{path.relative_to(ROOT)} has no one purpose"


def test_every_file_says_what_it_is_for() -> None:
    for package in MAY_IMPORT:
        for file in (ROOT / package).rglob("*.py"):
            assert ast.get_docstring(ast.parse(file.read_text())), f"{file.relative_to(ROOT)} has no docstring"
