"""Markdown tables that are also readable as plain text. Standard library only."""

from collections.abc import Sequence


def _is_number(cell: str) -> bool:
    return cell in ("", "-") or cell[:1].isdigit()


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table with aligned columns: numbers to the right, everything else to the left."""
    lines = [[cell.replace("|", "&#124;") for cell in row] for row in (header, *rows)]
    columns = list(zip(*lines, strict=True))
    widths = [max(3, *map(len, column)) for column in columns]
    right = [i > 0 and all(map(_is_number, column[1:])) for i, column in enumerate(columns)]
    aligned = [
        [
            cell.rjust(width) if to_right else cell.ljust(width)
            for cell, width, to_right in zip(line, widths, right, strict=True)
        ]
        for line in lines
    ]
    rule = ["-" * (width - 1) + (":" if to_right else "-") for width, to_right in zip(widths, right, strict=True)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (aligned[0], rule, *aligned[1:]))
