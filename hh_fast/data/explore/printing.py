"""A data set's report as text for people. Names that would break a line or a terminal are escaped."""

from collections.abc import Sequence

from hh_fast.data.explore.inspection import Report, SplitReport
from hh_fast.data.explore.labels import to_look_at
from hh_fast.data.folders import count_left_out, list_kinds
from hh_fast.data.images import describe_unequal
from hh_fast.io.text import printable

MAX_LISTED = 20
MOST_SUSPECTS = 10


def to_text(report: Report) -> str:
    """The whole report; lists of files stop after 20, those of doubtful photos after 10 (JSON has them all)."""
    lines = [f"Data set: {printable(report.name)}"]
    if report.note is not None:
        lines.append(printable(report.note))
    for split in report.splits:
        lines += ["", *_split_lines(split)]
    if report.held_out is not None:
        lines += ["", *_held_out_lines(report.held_out, bool(report.duplicates or report.near_copies))]
    lines += ["", *_cache_lines(report), "", *_fault_lines(report)]
    return "\n".join(lines)


def _split_lines(split: SplitReport) -> list[str]:
    lines = [f"{split.name}: {sum(split.counts.values()):,} images in {printable(split.directory)}"]
    width = max(len(printable(name)) for name in split.counts)
    for name, count in split.counts.items():
        files = ", ".join(map(printable, split.first_files[name]))
        more = ", ..." if count > len(split.first_files[name]) else ""
        lines.append(f"  {printable(name):{width}} {count:7,}  {files}{more}")
    if split.name == "train" and (unequal := describe_unequal(list(split.counts.values()))):
        lines.append(f"  {unequal}")
    for title, counts in (("sizes", split.image_sizes), ("modes", split.modes), ("formats", split.formats)):
        lines.append(f"  {title:7} {_counts_text(counts)}")
    return lines


def _held_out_lines(held_out: dict[str, int], has_copies: bool) -> list[str]:
    classes = ", ".join(f"{printable(name)} {count:,}" for name, count in held_out.items())
    copies = "; copies stay on one side" if has_copies else ""
    return [
        f"Training would hold out {sum(held_out.values()):,} for validation (--validation_split, --seed): {classes}{copies}"
    ]


def _counts_text(counts: dict[str, int]) -> str:
    shown = [f"{name} ({count:,})" for name, count in list(counts.items())[:8]]
    return ", ".join(shown) + (f", and {len(counts) - 8:,} more" if len(counts) > 8 else "") if shown else "none"


def _cache_lines(report: Report) -> list[str]:
    height, width = report.image_size
    lines = [f"Decoded at {height} x {width} (height x width), each cache mode keeps:"]
    for mode, sizes in report.cache_bytes.items():
        lines.append(
            f"  --cache={mode:7} {sizes['memory'] / 1e6:10,.1f} MB of memory, {sizes['disk'] / 1e6:10,.1f} MB of disk"
        )
    return [*lines, f"  --cache=auto    chooses {report.auto_cache} here: {report.auto_cache_reason}"]


def _fault_lines(report: Report) -> list[str]:
    splits = report.splits
    unreadable = [f"{printable(path)}: {reason}" for split in splits for path, reason in split.unreadable]
    misnamed = [
        f"{printable(path)}: named as {promised.upper()}, is {found.upper()}"
        for split in splits
        for path, promised, found in split.misnamed
    ]
    ignored = [printable(path) for split in splits for path in split.ignored]
    kinds = count_left_out(path for split in splits for path in split.ignored)
    lines = ["Faults:"]
    lines += _listed("unreadable", "images that cannot be used", unreadable)
    lines += _listed("misnamed", "images whose suffix is not their format (they are read by content)", misnamed)
    lines += _listed("leaks", "images that are both trained and validated on", _groups(report.leaks))
    lines += _listed("conflicts", "images that are in two classes", _groups(report.conflicts))
    lines += _listed("duplicates", "images that a split has more than once, byte by byte", _groups(report.duplicates))
    if report.near_copies:
        meaning = "groups of images that show the same picture: smaller, brighter, cropped or compressed anew"
        meaning += "" if report.wrong_folder is None else ", or the same scene"
        lines += _listed("near copies", meaning, _groups(report.near_copies, " ~ "))
    if report.wrong_folder is not None and report.unlike_others is not None:
        doubtful = [
            f"{printable(one.path)}: looks like {printable(one.looks_like)} {one.looks_like_probability:.2f}"
            for one in to_look_at(report.wrong_folder)
        ]
        meaning = "photos to look at: they look like another class, the clearest first"
        lines += _listed("wrong folder", meaning, doubtful, MOST_SUSPECTS)
        far = [f"{printable(one.path)}: {one.similarity:.2f}" for one in report.unlike_others]
        meaning = "photos far from every other of their class, by the cosine similarity of the nearest"
        lines += _listed("unlike others", meaning, far, MOST_SUSPECTS)
    lines += _listed("left out", list_kinds(kinds), ignored)
    lines += _listed("problems", "what training will refuse", [printable(problem) for problem in report.problems])
    return lines


def _groups(groups: Sequence[Sequence[str]], sign: str = " = ") -> list[str]:
    return [sign.join(map(printable, group)) for group in groups]


def _listed(title: str, meaning: str, entries: Sequence[str], most: int = MAX_LISTED) -> list[str]:
    if not entries:
        return [f"  {title}: none"]
    lines = [f"  {title}: {len(entries):,} ({meaning})", *(f"    {entry}" for entry in entries[:most])]
    if len(entries) > most:
        lines.append(f"    and {len(entries) - most:,} more; --json lists all")
    return lines
