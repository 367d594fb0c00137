"""The arrows between the rooms run one way, no modules import each other in a circle, and only the commands know flags."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import hh_fast

PACKAGE = Path(hh_fast.__file__).parent
# What BUILD.md draws: each room with all that it may import. Rooms on one floor do not know each other.
GROUND = {"config", "errors", "io"}
FIRST = GROUND | {"sample", "augmentation", "evaluation", "model", "any_model", "unknown", "backbone"}
TRAINED = FIRST | {"data", "distributed"}
ALLOWED: dict[str, set[str]] = {
    "errors": set(),
    "io": {"errors"},
    "config": {"errors", "io"},
    "sample": GROUND,
    "augmentation": GROUND,
    "evaluation": GROUND,
    "model": GROUND,
    "any_model": GROUND | {"unknown"},
    "unknown": GROUND,
    "backbone": GROUND | {"any_model", "unknown"},
    "data": FIRST,
    "distributed": FIRST | {"data"},
    "training": TRAINED,
    "predict": TRAINED - {"distributed"},
    "export": TRAINED | {"training", "predict"},
    "serve": GROUND,  # a page needs no TensorFlow
    "cli": TRAINED | {"training", "predict", "export", "serve"},
}


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")


MODULES = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def imported_modules(path: Path) -> Iterator[str]:
    """The modules of hh_fast that a file imports anywhere, also inside its functions."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "hh_fast":
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                yield name if name in MODULES else node.module
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in MODULES)


IMPORTS = {name: set(imported_modules(path)) for name, path in MODULES.items()}


def room(module: str) -> str:
    return module.split(".")[1]


@pytest.mark.parametrize("module", [name for name in MODULES if name != "hh_fast"])
def test_imports_follow_the_arrows(module: str) -> None:
    # The package itself is asked for its version alone: its names are loaded when first used.
    imported = {room(name) for name in IMPORTS[module] - {"hh_fast"}}
    assert imported <= ALLOWED[room(module)] | {room(module)}


def test_every_room_is_drawn() -> None:
    assert {room(name) for name in MODULES if name != "hh_fast"} == set(ALLOWED)


def test_only_sources_knows_how_the_sample_is_made() -> None:
    users = {name for name, imported in IMPORTS.items() if any(room(i) == "sample" for i in imported if i != "hh_fast")}
    assert {name for name in users if room(name) != "sample"} == {"hh_fast.data.sources"}


def test_no_modules_import_each_other_in_a_circle() -> None:
    # Raises CycleError, which names the circle.
    list(TopologicalSorter({name: found - {name, "hh_fast"} for name, found in IMPORTS.items()}).static_order())


def test_only_the_commands_know_flags() -> None:
    assert [name for name, path in MODULES.items() if "absl" in path.read_text() and room(f"{name}.") != "cli"] == []


@pytest.mark.parametrize(
    "module", ["hh_fast", "hh_fast.config", "hh_fast.cli.train", "hh_fast.predict", "hh_fast.serve.run"]
)
def test_these_load_no_tensorflow(module: str) -> None:
    code = f"import sys, {module}; sys.exit('tensorflow' in sys.modules or 'keras' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
