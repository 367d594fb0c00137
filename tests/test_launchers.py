"""bin/: set-up from the lock, marks, and what is said without a fit Python. No package is downloaded here."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent
FAKE_PIP = """\
import os, pathlib, sys
log = pathlib.Path(os.environ["PIP_LOG"])
log.write_text((log.read_text() if log.exists() else "") + " ".join(sys.argv[1:]) + "\\n")
sys.exit(1 if os.environ.get("PIP_FAILS") else 0)
"""


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A copy of what a set-up reads, with a pip that only notes what it is asked, and commands that only answer."""
    root = tmp_path / "a clone"
    shutil.copytree(ROOT / "bin", root / "bin")
    shutil.copytree(ROOT / "lock", root / "lock")
    fake = tmp_path / "site" / "pip"
    fake.mkdir(parents=True)
    (fake / "__init__.py").write_text("")
    (fake / "__main__.py").write_text(FAKE_PIP)
    return root


def call(clone: Path, *arguments: str, **extra: str) -> "subprocess.CompletedProcess[str]":
    environment = os.environ | {
        "HH_FAST_PYTHON": sys.executable,
        "PYTHONPATH": str(clone.parent / "site"),
        "PIP_LOG": str(clone.parent / "pip.log"),
        "PATH": f"{clone.parent / 'tools'}:/usr/bin:/bin",
    }
    return subprocess.run(
        [str(clone / "bin" / "_venv"), *arguments], env=environment | extra, capture_output=True, text=True, check=False
    )


def pip_calls(clone: Path) -> list[str]:
    log = clone.parent / "pip.log"
    return re.findall(r"lock/(\w+)\.txt|(--editable)", log.read_text()) if log.exists() else []


RUN = [("build", ""), ("run", ""), ("", "--editable")]
TEST = [("build", ""), ("run", ""), ("test", ""), ("", "--editable")]


def test_the_first_call_sets_up_and_the_second_does_nothing(clone: Path) -> None:
    first = call(clone, "run")
    assert first.returncode == 0, first.stderr
    assert first.stderr.startswith(f"hh_fast: setting up {clone / '.venv'} from lock/")
    assert pip_calls(clone) == RUN
    assert "--require-hashes" in (clone.parent / "pip.log").read_text()
    second = call(clone, "run")
    assert (second.returncode, second.stderr) == (0, "")
    assert pip_calls(clone) == RUN


def test_the_test_tools_are_one_more_lock(clone: Path) -> None:
    call(clone, "test")
    assert pip_calls(clone) == TEST
    assert call(clone, "run").stderr == ""


def test_a_changed_lock_installs_again(clone: Path) -> None:
    call(clone, "run")
    with (clone / "lock" / "run.txt").open("a") as lock:
        lock.write("# changed\n")
    call(clone, "run")
    assert pip_calls(clone) == RUN * 2


def test_a_moved_clone_installs_again(clone: Path) -> None:
    call(clone, "run")
    moved = clone.with_name("moved")
    clone.rename(moved)
    call(moved, "run")
    assert pip_calls(moved) == RUN * 2


def test_an_interrupted_set_up_is_mended_by_the_next_call(clone: Path) -> None:
    failed = call(clone, "run", PIP_FAILS="1")
    assert failed.returncode == 1
    assert "the set-up failed at" in failed.stderr
    stray = clone / ".venv" / "lib" / "half_installed"
    stray.write_text("")
    assert call(clone, "run").returncode == 0
    assert not stray.exists()
    assert pip_calls(clone)[-3:] == RUN


@pytest.mark.parametrize("way", ["by hand", "a link", "a link to hh_fast's", "a broken link", "a file"])
def test_an_environment_that_is_not_ours_is_refused_and_left_as_it_is(clone: Path, way: str) -> None:
    venv, elsewhere = clone / ".venv", clone.parent / "elsewhere"
    if way == "a file":
        venv.write_text("mine")
        mine = venv
    else:
        folder = venv if way == "by hand" else elsewhere
        mine = folder / "lib" / "my_package.py"
        mine.parent.mkdir(parents=True)
        mine.write_text("mine")
        if way == "a link to hh_fast's":
            (folder / "hh_fast-root").write_text("/another/clone")
        if folder != venv:
            venv.symlink_to(elsewhere if way != "a broken link" else clone.parent / "nowhere")
    done = call(clone, "run")
    what = f"a link to {venv.readlink()}" if venv.is_symlink() else "not made by hh_fast"
    assert (done.returncode, done.stderr) == (
        1,
        f"hh_fast: {venv} is {what}, so it is not changed: rename or remove it, then run the command again, which creates its"
        " own.\n",
    )
    assert mine.read_text() == "mine"
    assert pip_calls(clone) == []


def test_nvidia_smi_decides_for_cuda(clone: Path) -> None:
    tool = clone.parent / "tools" / "nvidia-smi"
    tool.parent.mkdir()
    tool.write_text("#!/bin/sh\nexit 0\n")
    tool.chmod(0o755)
    call(clone, "run")
    assert pip_calls(clone) == [("build", ""), ("cuda", ""), ("", "--editable")]
    assert call(clone, "run").stderr == ""


@pytest.mark.parametrize("version", ["3.9.2", None])
def test_no_fit_python_is_one_clear_line(clone: Path, version: str | None) -> None:
    tools = clone.parent / "tools"
    tools.mkdir()
    for name in ("cat", "cmp", "dirname", "sh"):
        (tools / name).symlink_to(shutil.which(name) or "")
    if version:
        old = tools / "python3"
        old.write_text(f'#!/bin/sh\n[ "$1" = --version ] && echo "Python {version}" && exit 0\nexit 1\n')
        old.chmod(0o755)
    done = call(clone, "run", PATH=str(tools), HH_FAST_PYTHON="")
    found = f"Python {version}" if version else "no python3"
    line = f"hh_fast needs Python 3.10 to 3.13, but found {found}: install one, or set HH_FAST_PYTHON to its path.\n"
    assert (done.returncode, done.stderr) == (1, line)


@pytest.mark.parametrize("path", sorted((ROOT / "lock").glob("*.txt")), ids=lambda path: path.name)
def test_the_lock_has_hashes_and_no_addresses(path: Path) -> None:
    text = path.read_text()
    assert "://" not in text
    entries = re.split(r"\n(?=[a-zA-Z])", text.strip())
    assert len(entries) >= 3
    for entry in entries:
        assert re.match(r"[\w.-]+==[\w.]+( ;[^\\]*)? \\\n", entry), entry
        assert "--hash=sha256:" in entry


def test_each_launcher_names_its_command() -> None:
    assert ' -m benchmarks.race "$@"' in (ROOT / "bin" / "bench").read_text()
    names = {path.name for path in (ROOT / "bin").iterdir()} - {"_venv", "_venv.py", "bench", "lint", "test"}
    for name in names:
        assert f'/bin/hh-{name.replace("_", "-")}" "$@"' in (ROOT / "bin" / name).read_text()
        assert os.access(ROOT / "bin" / name, os.X_OK)
