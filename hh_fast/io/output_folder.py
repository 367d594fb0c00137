"""A folder that a person names for a command's output, and that may hold their own files too.

It is ours by its marker, `.hh_fast.json`, which names the files that hh_fast wrote. Only these are replaced or removed.
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
    """Removes folders, inner ones first, up to one that holds something."""
    with contextlib.suppress(OSError):
        for folder in folders:
            folder.rmdir()


@dataclasses.dataclass(frozen=True)
class OutputFolder:
    """The folder `path` of one `kind` of output (a run, a bundle, a site).

    Args:
        path: Where it is, or will be.
        field: The setting that names it, for messages.
        kind: What it holds, as the marker and messages have it.
        names: The names that hh_fast may write right inside it.
    """

    path: Path
    field: str
    kind: str
    names: tuple[str, ...]

    def _marked(self) -> frozenset[str] | None:
        """What the marker names; None without a marker of this kind."""
        try:
            marker = json.loads((self.path / MARKER).read_text(encoding="utf-8"))
            is_ours = marker["hh_fast"] == self.kind and all(map(_is_inside, marker["files"]))
        except (FileNotFoundError, NotADirectoryError, ValueError, KeyError, TypeError):
            return None
        return frozenset(marker["files"]) if is_ours else None

    def recorded(self) -> frozenset[str]:
        """What hh_fast wrote here: files by their paths in the folder, or patterns of such."""
        return self._marked() or frozenset()

    def _foreign(self, names: Collection[str]) -> set[str]:
        """What stands under one of `names`, or under the folder of one, and is not ours."""
        recorded = self.recorded()
        own = {name.partition("/")[0] for name in recorded}
        tops = {name.partition("/")[0] for name in names} - own
        return {name for name in (tops | set(names)) - recorded if os.path.lexists(self.path / name)} - own

    def check(self) -> None:
        """Raises `UsageError` where something stands at `path` that is not ours to write to."""
        if not os.path.lexists(self.path):
            return
        if not self.path.is_dir():
            raise UsageError(f"`{self.field}` must be a folder. Received: {self.path}, a file")
        # Hidden files do not count: a site's folder may well be a git repository.
        held = {path.name for path in self.path.iterdir() if not path.name.startswith(".")}
        if held and self._marked() is None:
            raise UsageError(
                f"`{self.field}` must be new, empty or a {self.kind} folder of hh_fast. Received: {self.path}, which holds"
                f" {listed(sorted(held), MAX_NAMES)}: give another folder, or move these elsewhere"
            )
        self._refuse(self._foreign(self.names))

    def _refuse(self, foreign: Collection[str]) -> None:
        if foreign:
            raise UsageError(
                f"`{self.field}` must hold no files of yours under the names that a {self.kind} writes. Received: {self.path},"
                f" which holds {listed(sorted(foreign), MAX_NAMES)}: move or rename that, or give another --{self.field}"
            )

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Checks the folder and holds it for this process, however it ends; leaves none where nothing was written.

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
                    f"another process writes to {self.path}: wait for it, or give another --{self.field}"
                ) from e
            self.check()
            for name in (SCRATCH, MARKER, *(self.names if self._marked() is not None else ())):
                remove_leftovers(self.path / name, alone=True)
            yield

    def _mark(self, files: Collection[str]) -> None:
        note = "hh_fast wrote these files, and replaces or removes no others in this folder"
        write_json(self.path / MARKER, {"hh_fast": self.kind, "note": note, "files": sorted(files)})

    def record(self, *files: str) -> None:
        """Says that `files`, which may be patterns, are ours, before they are written, so that a killed process leaves none unsaid.

        Raises:
            UsageError: one stands there that is not ours.
        """
        self._refuse(self._foreign(files))
        if not self.recorded().issuperset(files):
            self._mark(self.recorded() | set(files))

    def remove(self, *files: str) -> None:
        """Removes those of `files` that are ours, and the folders inside that this leaves empty.

        A name is somebody else's again from then on; what a pattern names remains ours.
        """
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
        """Holds the folder, and yields an empty one whose files take the place of ours here if the block ends well.

        `last` is the file by which readers know the output: while others change it is not there.

        Raises:
            UsageError, DataError: as `held`; a file of `names` is not ours.
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
