"""A prediction as one line: text, JSON or CSV."""

import csv
import io
import json
from collections.abc import Callable, Sequence
from typing import Any

from hh_fast.predict.stream import Prediction


def text_row(prediction: Prediction, class_names: Sequence[str], top: int) -> str:
    """`path: human 0.983`, with the next classes after a comma."""
    named = [f"{class_names[i]} {prediction.scores[i]:.3f}" for i in prediction.ranked()[:top]]  # type: ignore[index]
    return f"{prediction.path}: {', '.join(named)}"


def json_row(prediction: Prediction, class_names: Sequence[str], top: int) -> str:
    row: dict[str, Any] = {"path": prediction.path}
    if prediction.scores is None:
        row["error"] = prediction.fault
    else:
        best = prediction.ranked()
        row |= {
            "class": class_names[best[0]],
            "score": round(float(prediction.scores[best[0]]), 6),
            "top": [{"class": class_names[i], "score": round(float(prediction.scores[i]), 6)} for i in best[:top]],
        }
    if prediction.label is not None:
        row["label"] = class_names[prediction.label]
    return json.dumps(row)


def csv_line(values: Sequence[object]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(values)
    return line.getvalue()


def csv_header(top: int) -> str:
    further = [name for i in range(2, top + 1) for name in (f"class_{i}", f"score_{i}")]
    return csv_line(["path", "class", "score", *further])


def csv_row(prediction: Prediction, class_names: Sequence[str], top: int) -> str:
    cells: list[object] = [prediction.path]
    for i in prediction.ranked()[:top]:
        cells += [class_names[i], f"{prediction.scores[i]:.6f}"]  # type: ignore[index]
    return csv_line(cells)


Row = Callable[[Prediction, Sequence[str], int], str]
