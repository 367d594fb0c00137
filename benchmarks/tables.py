"""Rows as tables that read well on a terminal and as Markdown. No TensorFlow."""

import statistics
from collections.abc import Sequence
from typing import NamedTuple

from benchmarks.harness import Claim, Results, Row, arms_of, machine_in_words, take_ratio, values
from hh_fast.evaluation.tables import markdown_table


class Column(NamedTuple):
    """A figure of the rows, by arm: the median of the repeats, divided by `unit`; `spread` adds the range."""

    header: str
    figure: str
    form: str = "{:,.0f}"
    unit: float = 1.0
    spread: bool = False

    def cell(self, rows: Sequence[Row], arm: str) -> str:
        found = [value / self.unit for value in values(rows, arm, self.figure)]
        if not found:
            return "-"
        middle = self.form.format(statistics.median(found))
        if not self.spread or len(found) == 1:
            return middle
        return f"{middle} ({self.form.format(min(found))} to {self.form.format(max(found))})"


def table(title: str, rows: Sequence[Row], columns: Sequence[Column]) -> str:
    """A line an arm, under `title`, with the columns that any of them has a figure for."""
    columns = [column for column in columns if any(values(rows, arm, column.figure) for arm in arms_of(rows))]
    lines = [[arm, *(column.cell(rows, arm) for column in columns)] for arm in arms_of(rows)]
    return markdown_table([title, *(column.header for column in columns)], lines) if lines else ""


def ratio_table(rows: Sequence[Row], claims: Sequence[Claim]) -> str:
    """The ratios that the rows allow, in the order of the claims."""
    lines = []
    for claim in claims:
        if ratio := take_ratio(rows, claim):
            pairs = f"{ratio.low:.2f} to {ratio.high:.2f}" if ratio.num_pairs > 1 else "-"
            lines.append([claim.what, f"{ratio.median:.2f}", pairs, claim.above, claim.below])
    header = ["ratio, pair by pair", "median", "lowest to highest", "of", "to"]
    return markdown_table(header, lines) if lines else ""


def source(results: Results) -> str:
    """Where the figures come from, and what failed."""
    machine, versions = results["machine"], results["machine"]["versions"]
    with_bf16 = ", bf16 instructions" if "avx512_bf16" in machine["cpu_flags"] else ""
    software = f"TensorFlow {versions['tensorflow']}, Keras {versions['keras']}"
    text = f"`{results['command']}`, {results['written'][:10]}; {machine_in_words(machine)}{with_bf16}; {software}."
    return "\n\n".join([text, *(f"{name} failed: {why}" for name, why in results["failures"].items())])


def joined(*parts: str) -> str:
    return "\n\n".join(part for part in parts if part)
