"""Creates or repairs .venv from lock/: `_venv.py run` or `_venv.py test`. Standard library only.

`.venv/hh_fast-root` marks an environment made by hh_fast; any other is left alone. The marks `.venv/hh_fast-SET.txt` are removed
before anything changes and written at the end, and meanwhile hh_fast-root names no clone, so that the next call repeats an
interrupted set-up.
"""

import fcntl
import shutil
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
MARK_ROOT = VENV / "hh_fast-root"


def lock_file(name: str) -> Path:
    return ROOT / "lock" / f"{name}.txt"


def mark(name: str) -> Path:
    return VENV / f"hh_fast-{name}.txt"


def is_whole() -> bool:
    return MARK_ROOT.is_file() and MARK_ROOT.read_text() == str(ROOT)


def is_ready(name: str) -> bool:
    return is_whole() and mark(name).is_file() and mark(name).read_bytes() == lock_file(name).read_bytes()


def has_nvidia_gpu() -> bool:
    tool = shutil.which("nvidia-smi")
    return tool is not None and subprocess.run([tool], capture_output=True, check=False).returncode == 0


def pip(*arguments: str) -> None:
    quiet = [] if sys.stderr.isatty() else ["--quiet"]
    command = [str(VENV / "bin" / "python"), "-m", "pip", "--disable-pip-version-check", "install", *quiet, *arguments]
    subprocess.run(command, check=True, stdout=sys.stderr)


def foreign() -> str | None:
    """Why .venv must not be changed: it is a link, or was not made by hh_fast; else None."""
    if VENV.is_symlink():
        return f"a link to {VENV.readlink()}"
    if VENV.exists() and not MARK_ROOT.is_file() and not (VENV.is_dir() and not any(VENV.iterdir())):
        return "not made by hh_fast"
    return None


def empty() -> None:
    """Removes everything in .venv except for hh_fast-root."""
    for entry in VENV.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        elif entry != MARK_ROOT:
            entry.unlink()


def set_up(set_name: str) -> None:
    wanted = ["cuda" if has_nvidia_gpu() else "run"] + (["test"] if set_name == "test" else [])
    if all(is_ready(name) for name in wanted):
        return
    print(f"hh_fast: setting up {VENV} from lock/ (once; it downloads several hundred MB)", file=sys.stderr)
    was_whole = is_whole()
    VENV.mkdir(exist_ok=True)
    MARK_ROOT.write_text("being set up")
    for old in VENV.glob("hh_fast-*.txt"):
        old.unlink()
    if not was_whole:
        empty()
        venv.create(VENV, with_pip=True)
    pip("--require-hashes", "--no-deps", "-r", str(lock_file("build")))
    # Without build isolation, for which pip would download build tools that are not in the lock.
    for name in wanted:
        pip("--require-hashes", "--no-deps", "--no-build-isolation", "-r", str(lock_file(name)))
    pip("--no-deps", "--no-build-isolation", "--editable", str(ROOT))
    for name in wanted:
        shutil.copyfile(lock_file(name), mark(name))
    MARK_ROOT.write_text(str(ROOT))


def main() -> int:
    try:
        with (ROOT / ".venv.lock").open(
            "w"
        ) as guard:  # of two simultaneous first calls, the second waits and finds it done
            fcntl.flock(guard, fcntl.LOCK_EX)
            if reason := foreign():
                print(
                    f"hh_fast: {VENV} is {reason}, so it is not changed: rename or remove it, then run the command again, which"
                    " creates its own.",
                    file=sys.stderr,
                )
                return 1
            set_up(sys.argv[1])
    except subprocess.CalledProcessError as e:
        what = " ".join(map(str, e.cmd))
        print(
            f"hh_fast: the set-up failed at `{what}`; see above, then run the command again"
            " (if venv itself failed, install your system's python3-venv).",
            file=sys.stderr,
        )
        return 1
    except OSError as e:
        print(
            f"hh_fast: the set-up cannot write {e.filename}: {e.strerror}; fix that and run it again.", file=sys.stderr
        )
        return 1
    except KeyboardInterrupt:
        print("hh_fast: the set-up was interrupted; run the command again to repeat it.", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
