"""The public names, and the examples in their docstrings."""

import doctest
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import keras
import pytest
from small_run import Run

import hh_fast
from hh_fast.io.versions import package_versions
from hh_fast.predict.classifier import Classifier

pytest_plugins = ["small_run"]


def test_the_public_names() -> None:
    names = ["Augmentation", "build_model", "export_model", "image_dataset_from_directory", "load_classifier", "train"]
    assert hh_fast.__all__ == names
    assert {*hh_fast.__all__, "__version__"} <= set(dir(hh_fast))
    for name in hh_fast.__all__:
        assert getattr(hh_fast, name).__name__ == name
        assert getattr(hh_fast, name).__doc__
    with pytest.raises(
        AttributeError, match="module 'hh_fast' has no attribute 'fit': it has Augmentation, build_model"
    ):
        hh_fast.fit  # noqa: B018


def test_they_are_loaded_when_first_used() -> None:
    code = """
import sys, hh_fast
assert not {"numpy", "tensorflow", "hh_fast.data"} & set(sys.modules)
hh_fast.load_classifier, hh_fast.Augmentation
assert not {"keras", "tensorflow"} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.slow
def test_user_code_is_type_checked(tmp_path: Path) -> None:
    (tmp_path / "user.py").write_text("""
import hh_fast

def best(path: str) -> str:
    return hh_fast.load_classifier("m.tflite").classify([path])[0].class_name

reveal_type(hh_fast.build_model)
wrong: int = hh_fast.load_classifier("m.tflite").classify(["a.png"])[0].score
hh_fast.image_dataset_from_directory("pictures", cach="disk")
""")
    environment = os.environ | {"MYPYPATH": str(Path(hh_fast.__file__).parents[1])}
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file=pyproject.toml", str(tmp_path / "user.py")]
    checked = subprocess.run(
        command, capture_output=True, text=True, env=environment, cwd=Path(hh_fast.__file__).parents[1]
    )
    found = [line.partition("user.py:")[2] for line in checked.stdout.splitlines() if "error:" in line]
    assert len(found) == 2, checked.stdout
    assert '"float", variable has type "int"' in found[0]
    assert 'Unexpected keyword argument "cach"' in found[1]


EXAMPLES: dict[str, Any] = {name: getattr(hh_fast, name) for name in hh_fast.__all__} | {
    "classify": Classifier.classify
}
SLOW_EXAMPLES = ("train", "export_model", "image_dataset_from_directory")


@pytest.mark.filterwarnings("ignore:`shuffle=True` was passed")  # Keras says so of every tf.data.Dataset
@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[pytest.mark.slow] * (name in SLOW_EXAMPLES)) for name in EXAMPLES],
)
def test_examples_run(name: str, run: Run, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a folder with the `pictures`, `photo.jpg` and `exports/mine` that they name."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "pictures").symlink_to(run.train_dir)
    (tmp_path / "exports").mkdir()
    (tmp_path / "exports" / "mine").symlink_to(bundle)
    keras.utils.load_img(run.validation_dir / "humans" / "000.png").save("photo.jpg")
    found = doctest.DocTestFinder(recurse=False).find(EXAMPLES[name], name, module=False, globs={"hh_fast": hh_fast})
    assert found[0].examples
    for example in found[0].examples:
        exec(compile(example.source, name, "single"), found[0].globs)


def test_recorded_version_is_that_of_the_code(monkeypatch: pytest.MonkeyPatch) -> None:
    # An updated clone keeps the .venv, and with it the version that pip noted when it was made.
    monkeypatch.setattr("hh_fast.io.versions.version", lambda package: "0.0.1")
    assert package_versions()["hh-fast"] == hh_fast.__version__
    assert package_versions()["numpy"] == "0.0.1"
