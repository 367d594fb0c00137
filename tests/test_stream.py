"""From arguments to images to predictions and their summary."""

import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from small_run import CLASS_NAMES, Run, fake_classifier

from hh_fast.data.headers import TRUNCATED
from hh_fast.errors import DataError
from hh_fast.predict.files import ImageFile, find_images
from hh_fast.predict.opening import load_classifier
from hh_fast.predict.output import Summary
from hh_fast.predict.stream import Prediction, predict, predict_bytes

pytest_plugins = ["small_run"]

LIMIT = 1_000_000


def test_finds_files_folders_globs_and_lines(tmp_path: Path) -> None:
    for name in ("b/2.PNG", "b/1.jpg", "a/x/3.gif", "top.bmp", "notes.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    root = str(tmp_path)

    def found(*arguments: str, stdin: Sequence[bytes] = ()) -> list[str]:
        return [item.path.removeprefix(f"{root}/") for item in find_images(arguments, CLASS_NAMES, stdin, [])]

    assert found(root) == ["top.bmp", "a/x/3.gif", "b/1.jpg", "b/2.PNG"]
    assert found(f"{root}/notes.txt", f"{root}/b") == ["notes.txt", "b/1.jpg", "b/2.PNG"]
    assert found(f"{root}/**/*.gif", f"{root}/b/*") == ["a/x/3.gif", "b/1.jpg", "b/2.PNG"]
    assert found("-", stdin=[f"{root}/top.bmp\n".encode(), b"\n", f"{root}/b\r\n".encode()]) == [
        "top.bmp",
        "b/1.jpg",
        "b/2.PNG",
    ]
    assert found("absent.png") == ["absent.png"]
    assert found(f"{root}/*.tiff") == []


def test_labels_where_sub_folders_are_the_classes(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("humans/1.png", "humans/deeper/2.png", "horses/3.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert [item.label for item in find_images([str(tmp_path)], CLASS_NAMES, (), [])] == [0, 1, 1]
    (tmp_path / "mules").mkdir()
    assert {item.label for item in find_images([str(tmp_path)], CLASS_NAMES, (), [])} == {None}
    assert caplog.messages == [
        f"No accuracy for {tmp_path}: its sub-folders (horses, humans, mules) do not match the model's classes (horses, humans)"
    ]


def test_reads_only_a_few_batches_ahead() -> None:
    taken = 0

    def endless() -> Iterator[ImageFile]:
        nonlocal taken
        while True:
            taken += 1
            yield ImageFile(str(taken))

    stream = predict(fake_classifier(), endless(), lambda path: np.zeros((2, 2, 3), np.uint8), batch_size=4)
    for _ in range(4 * 10):
        next(stream)
    assert taken <= 4 * 13
    stream.close()


def test_bad_files_are_named_and_the_rest_goes_on() -> None:
    def read(path: str) -> np.ndarray:
        if path == "bad":
            raise DataError("bad: not an image")
        if path == "locked":
            raise PermissionError(13, "Permission denied")
        time.sleep(0.01 if path == "200" else 0)
        return np.full((2, 2, 3), int(path), np.uint8)

    found = [ImageFile("200", 1), ImageFile("bad", 0), ImageFile("10", 0), ImageFile("locked"), ImageFile("250", 0)]
    made = list(predict(fake_classifier(), found, read, batch_size=2))
    assert [item.path for item in made] == ["200", "bad", "10", "locked", "250"]
    assert [item.fault for item in made] == [None, "bad: not an image", None, "locked: Permission denied", None]
    assert [item.ranked()[:1] for item in made] == [[1], [], [0], [], [1]]
    summary = Summary(CLASS_NAMES)
    for item in made:
        summary.add(item)
    assert (summary.num_images, summary.num_unreadable) == (5, 2)
    assert summary.to_text() == (
        "accuracy 0.6667 (2 of 3)\n"
        "| true \\ predicted | horses | humans |\n"
        "| ---------------- | -----: | -----: |\n"
        "| horses           |      1 |      1 |\n"
        "| humans           |      0 |      1 |"
    )


def test_bytes_through_the_artifacts_own_decoder(run: Run, bundle: Path, scores: np.ndarray, tmp_path: Path) -> None:
    classifier = load_classifier(str(bundle / "saved_model"))
    found = list(find_images([str(run.validation_dir)], CLASS_NAMES, (), []))
    (tmp_path / "cut.png").write_bytes(Path(found[0].path).read_bytes()[:500])
    Image.new("P", (24, 24)).save(tmp_path / "palette.bmp")
    found += [ImageFile(str(tmp_path / "cut.png")), ImageFile(str(tmp_path / "palette.bmp"))]
    *good, bad, bmp = predict_bytes(classifier, found, max_image_pixels=LIMIT)
    np.testing.assert_allclose([item.scores for item in good], scores, atol=1e-3)
    assert bad.fault == f"{tmp_path / 'cut.png'}: {TRUNCATED}"
    assert bmp.fault == (
        f"{tmp_path / 'palette.bmp'}: a SavedModel does not decode this kind of image as image viewers do: leave out"
        " --signature=bytes"
    )


def test_prediction_without_scores_ranks_nothing() -> None:
    assert Prediction("x", None, None, "fault").ranked() == []
    assert Prediction("x", None, np.array([0.5, 0.5]), None).ranked() == [0, 1]
