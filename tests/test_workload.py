import numpy as np
import pytest

from benchmarks.race.workload import choose, link_images
from hh_fast.errors import DataError


@pytest.mark.parametrize(
    ("labels", "num_images", "shares"),
    [([0] * 6 + [1] * 6, 4, [2, 2]), ([0] * 9 + [1] * 3, 4, [3, 1]), ([0, 1, 0, 1], 4, [2, 2])],
)
def test_the_classes_keep_their_shares(labels, num_images, shares):
    positions = choose(np.array(labels), num_images)
    assert len(set(positions.tolist())) == num_images
    assert list(positions) == sorted(positions)
    assert np.bincount(np.array(labels)[positions]).tolist() == shares


def make_files(tmp_path):
    paths = [tmp_path / f"{i}.PNG" for i in range(4)]
    for i, path in enumerate(paths):
        path.write_bytes(bytes([i]))
    return list(map(str, paths))


def test_links_lead_to_the_same_bytes_in_the_same_order(tmp_path):
    folder = tmp_path / "linked"
    link_images(make_files(tmp_path), np.array([0, 0, 1, 1]), ["horses", "humans"], 4, folder)
    links = sorted(folder.rglob("*.png"))
    assert [link.relative_to(folder).as_posix() for link in links] == [
        "horses/0000000.png",
        "horses/0000001.png",
        "humans/0000002.png",
        "humans/0000003.png",
    ]
    assert [link.read_bytes() for link in links] == [bytes([i]) for i in range(4)]


def test_too_few_images_for_the_classes_is_an_error(tmp_path):
    with pytest.raises(DataError, match=r"no image of class humans among 1 images: take more images"):
        link_images(make_files(tmp_path), np.array([0, 0, 0, 1]), ["horses", "humans"], 1, tmp_path / "linked")
