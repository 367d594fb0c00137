"""Where a bench's results go: results.json, results.md and the chart, written atomically."""

import datetime
import json
from pathlib import Path

from hh_fast.bench.results import Results
from hh_fast.config import BenchConfig, TrainConfig
from hh_fast.errors import UsageError
from hh_fast.io.output_folder import OutputFolder
from hh_fast.io.typed_json import to_json

RESULTS, REPORT, CHART_PNG, CHART_SVG = "results.json", "results.md", "chart.png", "chart.svg"


def _output_folder(path: Path) -> OutputFolder:
    return OutputFolder(path, "output_dir", "results", (RESULTS, REPORT, CHART_PNG, CHART_SVG))


def prepare_output(bench: BenchConfig, train: TrainConfig) -> Path:
    """The folder to write to; refused now, rather than after minutes of measuring.

    Raises:
        UsageError: it exists and is no folder of results, or is one and `overwrite` is not set.
    """
    if bench.output_dir is None:
        return Path("bench_results") / datetime.datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
    folder = Path(bench.output_dir).expanduser()
    _output_folder(folder).check()
    if (folder / RESULTS).exists() and not train.overwrite:
        raise UsageError(f"`output_dir` holds results already; add --overwrite to replace them. Received: {folder}")
    return folder


def prepare_flagfile(bench: BenchConfig, train: TrainConfig) -> Path | None:
    """The flagfile to write, or None; refused now where it exists and `overwrite` is not set."""
    if bench.write_flags is None:
        return None
    path = Path(bench.write_flags).expanduser()
    if path.exists() and not train.overwrite:
        raise UsageError(f"`write_flags` must be a new file; add --overwrite to replace it. Received: {path}")
    return path


def write_all(results: Results, folder: Path) -> str:
    """Writes the folder atomically, and returns the report for the terminal."""
    from hh_fast.bench import chart, report  # matplotlib is for the end, not for a refusal

    text = report.render(results)
    with _output_folder(folder).replaced(RESULTS) as temporary:
        (temporary / RESULTS).write_text(json.dumps(to_json(results), indent=1) + "\n", encoding="utf-8")
        (temporary / REPORT).write_text(text, encoding="utf-8")
        chart.draw(results, temporary / CHART_PNG, temporary / CHART_SVG)
    return f"{text}\nResults: {folder}"
