"""A user-given output folder, which may also contain the user's own files.

Its marker, `.hh_fast.json`, lists the files that hh_fast wrote. Only these are replaced or removed.
"""

import contextlib
import dataclasses
import json
import os
from collections.abc import Collection, Iterator
from pathlib import Path, PurePosixPath

import filelock

from hh_fast.errors import DataError, UsageError
from hh_fast.io.files import exclusive, remove_leftovers, scratch_dir, sync, write_json
from hh_fast.io.text import listed

MARKER, LOCK, SCRATCH = ".hh_fast.json", ".hh_fast.lock", "hh_fast"
MAX_NAMES = 5


def _is_inside(name: str) -> bool:
    path = PurePosixPath(name)
    return bool(path.parts) and not path.is_absolute() and not {"..", "**"} & set(path.parts)


def _remove_empty(folders: Collection[Path]) -> None:
    """Removes empty folders in order, innermost first, up to the first that is not empty."""
    with contextlib.suppress(OSError):
        for folder in folders:
            folder.rmdir()


@dataclasses.dataclass(frozen=True)
class OutputFolder:
    """The folder `path` of one `kind` of output (a run, a bundle, a site).

    Args:
        path: Its path; it need not exist.
        field: The name of its setting, for messages.
        kind: The kind of output, for the marker and messages.
        names: The names of files and folders that hh_fast may write directly inside it.
    """

    path: Path
    field: str
    kind: str
    names: tuple[str, ...]

    def _marked(self) -> frozenset[str] | None:
        """The files in the marker; None without a marker of this kind."""
        try:
            marker = json.loads((self.path / MARKER).read_text(encoding="utf-8"))
            is_ours = marker["hh_fast"] == self.kind and all(map(_is_inside, marker["files"]))
        except (FileNotFoundError, NotADirectoryError, ValueError, KeyError, TypeError):
            return None
        return frozenset(marker["files"]) if is_ours else None

    def recorded(self) -> frozenset[str]:
        """The files that hh_fast wrote here, by relative path or pattern."""
        return self._marked() or frozenset()

    def _foreign(self, names: Collection[str]) -> set[str]:
        """The existing files among `names`, or in the place of their folders, that hh_fast did not write."""
        recorded = self.recorded()
        own = {name.partition("/")[0] for name in recorded}
        tops = {name.partition("/")[0] for name in names} - own
        return {name for name in (tops | set(names)) - recorded if os.path.lexists(self.path / name)} - own

    def check(self) -> None:
        """Raises `UsageError` if `path` exists and must not be written to."""
        if not os.path.lexists(self.path):
            return
        if not self.path.is_dir():
            raise UsageError(f"`{self.field}` must be a folder. Received: {self.path}, a file")
        # Hidden files are ignored: a site's folder may be a git repository.
        held = {path.name for path in self.path.iterdir() if not path.name.startswith(".")}
        if held and self._marked() is None:
            raise UsageError(
                f"`{self.field}` must be new, empty or a {self.kind} folder of hh_fast. Received: {self.path}, which contains"
                f" {listed(sorted(held), MAX_NAMES)}: give another folder, or move these elsewhere"
            )
        self._refuse(self._foreign(self.names))

    def _refuse(self, foreign: Collection[str]) -> None:
        if foreign:
            raise UsageError(
                f"`{self.field}` must not contain files of yours with names that a {self.kind} writes. Received: {self.path},"
                f" which contains {listed(sorted(foreign), MAX_NAMES)}: move or rename these, or give another --{self.field}"
            )

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Checks the folder and locks it for this process; removes it if nothing was written.

        Raises:
            UsageError: as `check`.
            DataError: another process holds it.
        """
        self.check()
        new = [folder for folder in (self.path, *self.path.parents) if not folder.exists()]
        with contextlib.ExitStack() as stack:
            stack.callback(_remove_empty, new)
            try:
                stack.enter_context(exclusive(self.path / LOCK, None))
            except filelock.Timeout as e:
                raise DataError(
                    f"another process is writing to {self.path}: wait for it, or give another --{self.field}"
                ) from e
            self.check()
            for name in (SCRATCH, MARKER, *(self.names if self._marked() is not None else ())):
                remove_leftovers(self.path / name, alone=True)
            yield

    def _mark(self, files: Collection[str]) -> None:
        note = "hh_fast wrote these files; it does not replace or remove any others in this folder"
        write_json(self.path / MARKER, {"hh_fast": self.kind, "note": note, "files": sorted(files)})

    def record(self, *files: str) -> None:
        """Adds `files`, which may be patterns, to the marker. Called before they are written, so that a killed process leaves none unlisted.

        Raises:
            UsageError: one exists that hh_fast did not write.
        """
        self._refuse(self._foreign(files))
        if not self.recorded().issuperset(files):
            self._mark(self.recorded() | set(files))

    def remove(self, *files: str) -> None:
        """Removes those of `files` that hh_fast wrote, and folders that become empty; names leave the marker, patterns stay."""
        removed = self.recorded() & set(files)
        for name in removed:
            for path in self.path.glob(name):
                if path.is_symlink() or not path.is_dir():
                    path.unlink()
                    _remove_empty(path.parents[: len(path.relative_to(self.path).parents) - 1])
        if removed:
            self._mark({name for name in self.recorded() if name not in removed or "*" in name or "[" in name})

    @contextlib.contextmanager
    def replaced(self, last: str) -> Iterator[Path]:
        """Locks the folder, and yields an empty one whose files replace those of hh_fast here if the block succeeds.

        `last` is the file by which readers recognise the output: it is absent while others are replaced.

        Raises:
            UsageError, DataError: as `held`; or hh_fast did not write an existing file of `names`.
        """
        with self.held(), scratch_dir(self.path / SCRATCH) as temporary:
            yield temporary
            files = {path.relative_to(temporary).as_posix(): path for path in temporary.rglob("*") if path.is_file()}
            for path in files.values():
                sync(path)
            old = self.recorded()
            self.record(*files)
            for name in files:
                (self.path / name).parent.mkdir(parents=True, exist_ok=True)
            (self.path / last).unlink(missing_ok=True)
            for name in sorted(files, key=lambda name: name == last):
                files[name].replace(self.path / name)
                sync((self.path / name).parent)
            self.remove(*(old - files.keys()))
