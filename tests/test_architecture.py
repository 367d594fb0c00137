"""The arrows between the rooms run one way."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import hh_fast

PACKAGE = Path(hh_fast.__file__).parent
# The arrows that BUILD.md draws: each room may import the rooms named, and no other.
FLOOR = {"errors", "io"}
BELOW = FLOOR | {"config"}
ALLOWED: dict[str, set[str]] = {
    "errors": set(),
    "io": {"errors"},
    "config": FLOOR,
    "sample": FLOOR,
    "model": BELOW,
    "augmentation": FLOOR,
    "evaluation": BELOW,
    "data": BELOW | {"sample", "augmentation", "evaluation"},
    "distributed": BELOW | {"data", "augmentation"},
    "training": BELOW | {"augmentation", "data", "model", "evaluation", "distributed"},
    "predict": BELOW | {"data", "model", "evaluation"},
    "export": BELOW | {"data", "model", "evaluation", "training", "predict"},
    "bench": BELOW | {"augmentation", "data", "model", "evaluation", "training", "predict", "distributed"},
    "serve": BELOW,
    "cli": BELOW | {"augmentation", "data", "model", "training", "predict", "export", "bench", "serve", "distributed"},
}


def room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_rooms(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "hh_fast":
            parts = node.module.split(".")[1:]
            found |= {parts[0]} if parts else {alias.name for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {alias.name.split(".")[1] for alias in node.names if alias.name.startswith("hh_fast.")}
    return found - {"__version__"}


MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path.parent != PACKAGE or path.name != "__init__.py")


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_run_one_way(path: Path) -> None:
    own = room(path)
    assert imported_rooms(path) <= ALLOWED[own] | {own}


def test_only_the_commands_know_flags() -> None:
    users = [path for path in MODULES if "absl" in path.read_text() and room(path) != "cli"]
    assert users == []


@pytest.mark.parametrize(
    "module", ["hh_fast", "hh_fast.config", "hh_fast.cli.train", "hh_fast.predict", "hh_fast.serve.run"]
)
def test_these_load_no_tensorflow(module: str) -> None:
    code = f"import sys, {module}; sys.exit('tensorflow' in sys.modules or 'keras' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
