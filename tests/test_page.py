"""The page in real browsers: Chromium with a camera of sample pictures, and WebKitGTK, the engine of every iPhone's browsers."""

import base64
import contextlib
import io
import itertools
import json
import shutil
import ssl
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest
from browsers import Chromium, Page, has_webkit, static_host, webkit
from PIL import ExifTags, Image, ImageCms
from small_run import CLASS_NAMES, IMAGE_SIZE, draw

from hh_fast.cli.predict import main as predict
from hh_fast.data.pixels import ImageForm, read_pixels
from hh_fast.serve import certificate, site
from hh_fast.serve.runtime import read_runtime
from hh_fast.serve.server import SiteServer

pytestmark = pytest.mark.slow

pytest_plugins = ["small_run"]

AXE = Path(__file__).parent / "web" / "node_modules" / "axe-core" / "axe.min.js"
FRAMES_A_PICTURE = 15
READY = "!document.querySelector('#camera').disabled"
ERROR = "document.querySelector('#error').textContent"
BEST = "document.querySelector('#name').textContent"
OFFLINE = "document.querySelector('#offline.ready') !== null"
SCORES = "[...document.querySelectorAll('#bars li')].map((row) => Number(row.style.getPropertyValue('--share')))"


def write_camera(path: Path, pictures: list[Image.Image]) -> None:
    """A y4m video that shows each picture for `FRAMES_A_PICTURE` frames, 15 a second."""
    with path.open("wb") as out:
        width, height = pictures[0].size
        out.write(f"YUV4MPEG2 W{width} H{height} F15:1 Ip A1:1 C420jpeg\n".encode())
        for picture in pictures:
            luma, blue, red = (np.asarray(plane) for plane in picture.convert("RGB").convert("YCbCr").split())
            frame = luma.tobytes() + blue[::2, ::2].tobytes() + red[::2, ::2].tobytes()
            out.write((b"FRAME\n" + frame) * FRAMES_A_PICTURE)


@pytest.fixture(scope="module")
def files(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    if shutil.which("npm") is None:
        pytest.skip("needs npm, for LiteRT.js")
    return site.build(site.read_bundle(bundle), read_runtime(None, tmp_path_factory.mktemp("cache")))


@contextlib.contextmanager
def serving(
    files: Mapping[str, bytes], *, host: str = "127.0.0.1", port: int = 0, cert: Path | None = None
) -> Iterator[int]:
    context = None
    if cert is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(cert)
    with SiteServer(host, port, files, context) as served, served.running():
        yield served.port


@pytest.fixture(scope="module")
def address(files: dict[str, bytes]) -> Iterator[str]:
    with serving(files) as port:
        yield f"http://localhost:{port}/"


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    """With a camera that shows a horse and a human in turn, a second each."""
    if shutil.which("chromium") is None:
        pytest.skip("needs Debian's chromium")
    folder = tmp_path_factory.mktemp("chromium")
    rng = np.random.default_rng(4)
    write_camera(folder / "camera.y4m", [draw(rng, label, IMAGE_SIZE).resize((384, 384), 0) for label in (0, 1)])
    camera = f"--use-file-for-fake-video-capture={folder / 'camera.y4m'}"
    browser = Chromium(folder / "profile", "--use-fake-device-for-media-stream=device-count=2", camera)
    yield browser
    browser.close()


@pytest.fixture
def page(chromium: Chromium) -> Iterator[Page]:
    opened = chromium.new_page()
    yield opened
    opened.close()


def permit_camera(page: Page, address: str, setting: str) -> None:
    origin = address.rstrip("/")
    page.chromium.send("Browser.setPermission", permission={"name": "camera"}, setting=setting, origin=origin)


def picture(label: int, seed: int = 7, size: tuple[int, int] = IMAGE_SIZE) -> Image.Image:
    return draw(np.random.default_rng(seed), label, size).convert("RGB")


def scores_of(page: Page, path: Path) -> list[float]:
    """The page's scores of a picture, chosen as a person chooses it."""
    page.run("document.querySelector('#time').textContent = ''")
    page.choose(path)
    page.until("document.querySelector('#time').textContent || " + ERROR)
    assert page.run(ERROR) == ""
    return list(page.run(SCORES))


def test_the_camera_is_followed_and_nothing_else_is_asked_for(page: Page, address: str) -> None:
    permit_camera(page, address, "prompt")
    page.open(address).until(READY)
    permit_camera(page, address, "granted")
    page.click("#camera")
    for name in (*CLASS_NAMES, *CLASS_NAMES):
        page.until(f"{BEST} === {name!r}")
    assert page.run("document.querySelector('#time').textContent").endswith(" ms an image")
    page.click("#camera")
    assert page.until("document.querySelector('#camera').textContent") == "Go on"
    time.sleep(0.2)  # an image that was under way
    shown = page.run(SCORES)
    time.sleep(1.5)
    assert page.run(SCORES) == shown
    page.click("#camera")
    page.until(f"JSON.stringify({SCORES}) !== {json.dumps(json.dumps(shown, separators=(',', ':')))}")
    assert {request for request in page.requests if not request.startswith(address)} == set()
    assert page.problems == []


def test_a_camera_that_was_allowed_before_starts_by_itself(page: Page, address: str) -> None:
    permit_camera(page, address, "granted")
    page.open(address).until(f"{BEST} !== ''")
    assert page.run("document.querySelector('#camera').textContent") == "Pause"


def test_the_next_camera_is_taken(address: str, chromium: Chromium, tmp_path: Path) -> None:
    two = Chromium(tmp_path, "--use-fake-device-for-media-stream=device-count=2")
    try:
        page = two.new_page()
        permit_camera(page, address, "granted")
        page.open(address).until(f"{BEST} !== ''")
        label = "document.querySelector('#video').srcObject.getVideoTracks()[0].label"
        for _ in range(2):
            first = page.run(label)
            page.click("#flip")
            page.until(f"{label} !== {first!r} && document.querySelector('#camera').textContent === 'Pause'")
    finally:
        two.close()


def test_where_the_next_camera_was_unplugged_another_starts(page: Page, address: str) -> None:
    permit_camera(page, address, "granted")
    page.open(address).until(f"{BEST} !== ''")
    page.run("""
        const gone = { kind: "videoinput", deviceId: "gone" };
        const current = document.querySelector("#video").srcObject.getVideoTracks()[0].getSettings().deviceId;
        navigator.mediaDevices.enumerateDevices = async () => [{ kind: "videoinput", deviceId: current }, gone];
        globalThis.before = document.querySelector("#video").srcObject;
        return document.querySelector("#flip").click();
    """)
    page.until(
        "document.querySelector('#video').srcObject !== before && document.querySelector('#camera').textContent === 'Pause'"
    )
    assert page.run(ERROR) == ""


def test_a_picture_of_none_of_the_classes_is_told_so(
    page: Page, bundle: Path, files: dict[str, bytes], tmp_path: Path
) -> None:
    runtime = {name.removeprefix("litert/"): content for name, content in files.items() if name.startswith("litert/")}
    seen = site.read_bundle(bundle)
    model = dict(seen.model) | {"class_names": ["horses", "unknown"], "unknown_class": "unknown"}
    with serving(site.build(site.Bundle("Horses?", model, seen.content), runtime)) as port:
        page.open(f"http://localhost:{port}/").until(READY)
        for label, name in enumerate(("horses", "none of these")):
            picture(label).save(tmp_path / f"{label}.png")
            scores_of(page, tmp_path / f"{label}.png")
            assert page.run(BEST) == name
            assert page.run("document.querySelector('#best').classList.contains('none')") == bool(label)
        assert page.run("document.querySelector('#bars .none').textContent").startswith("none of these")


GIVE = """
const bytes = Uint8Array.from(atob("{data}"), (c) => c.charCodeAt(0));
const transfer = new DataTransfer();
transfer.items.add(new File([bytes], "photo.png", {{ type: "image/png" }}));
return dispatchEvent(new {event});
"""
GIVEN = {
    "dropped": 'DragEvent("drop", { dataTransfer: transfer, cancelable: true })',
    "pasted": 'ClipboardEvent("paste", { clipboardData: transfer })',
}


@pytest.mark.parametrize("way", ["chosen", *GIVEN])
def test_a_photo_is_classified(way: str, page: Page, address: str, tmp_path: Path) -> None:
    permit_camera(page, address, "prompt")
    page.open(address).until(READY)
    for label, name in enumerate(CLASS_NAMES):
        picture(label).save(tmp_path / f"{label}.png")
        if way == "chosen":
            page.choose(tmp_path / f"{label}.png")
        else:
            data = base64.b64encode((tmp_path / f"{label}.png").read_bytes()).decode()
            page.run(GIVE.format(data=data, event=GIVEN[way]))
        page.until(f"{BEST} === {name!r}")
    assert page.run("document.querySelector('#spoken').textContent").startswith(CLASS_NAMES[1])


# Errors: one line each, and the page goes on


def test_a_refused_camera_and_a_file_that_is_no_image(page: Page, address: str, tmp_path: Path) -> None:
    permit_camera(page, address, "denied")
    page.open(address).until(READY)
    page.click("#camera")
    assert page.until(ERROR) == (
        "The camera was refused: allow it for this page in the browser's settings, or choose a photo."
    )
    (tmp_path / "notes.txt").write_text("no image")
    page.choose(tmp_path / "notes.txt")
    page.until(f"{ERROR} === 'notes.txt is no picture that this browser can read: choose a JPEG, PNG, WebP or GIF.'")
    picture(1).save(tmp_path / "photo.png")
    scores_of(page, tmp_path / "photo.png")
    assert page.run("document.querySelector('#error').hidden")
    visible = "['result', 'photo', 'empty'].filter((id) => !document.getElementById(id).hidden)"
    assert page.run(visible) == ["result", "photo"]
    page.choose(tmp_path / "notes.txt")
    page.until(ERROR)
    assert page.run(visible) == ["empty"]  # no picture and score of another photo


START_ERRORS = [
    # what is wrong, what the page says
    ("no WebAssembly", "This browser has no WebAssembly: use a current one"),
    ("no model", "model_int8.tflite is missing here (404): make the site again with bin/serve."),
    ("a damaged model", "The runtime did not start: reload the page, or use a current browser. ("),
]


@pytest.mark.parametrize(("wrong", "text"), START_ERRORS, ids=[wrong for wrong, _ in START_ERRORS])
def test_a_page_that_cannot_start_says_why(wrong: str, text: str, page: Page, files: dict[str, bytes]) -> None:
    broken = dict(files)
    if wrong == "no model":
        del broken["model_int8.tflite"]
    elif wrong == "a damaged model":
        broken["model_int8.tflite"] = b"\0" * 1000
    else:
        page.send("Page.addScriptToEvaluateOnNewDocument", source="delete globalThis.WebAssembly")
    with serving(broken) as port:
        page.open(f"http://localhost:{port}/")
        assert str(page.until(ERROR)).startswith(text)
        assert "This page could not start." in page.text()
        assert (
            page.run("document.querySelectorAll('#controls :is(button, input):enabled').length") == 1
        )  # the hidden one


def test_over_plain_http_from_another_device_photos_work(page: Page, files: dict[str, bytes], tmp_path: Path) -> None:
    lan = certificate.lan_address()
    if lan is None:
        pytest.skip("this machine is in no network")
    with serving(files, host="0.0.0.0") as port:
        page.open(f"http://{lan}:{port}/").until(READY)
        page.click("#camera")
        assert str(page.until(ERROR)).startswith("The camera needs an https address, or localhost")
        assert page.until("document.querySelector('#offline').textContent").startswith("Needs a network: ")
        picture(0).save(tmp_path / "photo.png")
        scores_of(page, tmp_path / "photo.png")
        assert page.run(BEST) == CLASS_NAMES[0]


def test_past_the_warning_of_a_self_signed_certificate_there_is_a_camera(
    page: Page, files: dict[str, bytes], tmp_path: Path
) -> None:
    with serving(files, cert=certificate.own_certificate(tmp_path)) as port:
        page.open(f"https://127.0.0.1:{port}/").until(
            "document.title === 'Privacy error' && document.readyState === 'complete'"
        )
        for key in "thisisunsafe":  # what Chromium takes for a click through its warning
            page.send("Input.dispatchKeyEvent", type="char", text=key)
        page.until(READY)
        permit_camera(page, f"https://127.0.0.1:{port}", "granted")
        page.click("#camera")
        page.until(f"{BEST} !== ''")
        assert page.until("document.querySelector('#offline').textContent").startswith("Needs a network: ")


# Offline, updates, installation


def reload(page: Page) -> None:
    page.run("globalThis.isOld = true")
    page.send("Page.reload")
    page.until("globalThis.isOld !== true")


def test_it_works_offline_once_it_says_so(page: Page, files: dict[str, bytes], tmp_path: Path) -> None:
    with serving(files) as port:
        page.open(f"http://localhost:{port}/").until(OFFLINE)
    reload(page)
    page.until(READY)
    picture(1).save(tmp_path / "photo.png")
    scores_of(page, tmp_path / "photo.png")
    assert page.run(BEST) == CLASS_NAMES[1]


def test_a_new_model_is_seen_at_the_next_visit(page: Page, files: dict[str, bytes], bundle: Path) -> None:
    seen = site.read_bundle(bundle)
    newer = site.Bundle("A new model", seen.model, seen.content)
    runtime = {name.removeprefix("litert/"): content for name, content in files.items() if name.startswith("litert/")}
    with serving(files) as port:
        page.open(f"http://localhost:{port}/").until(OFFLINE)
    with serving(site.build(newer, runtime), port=port):
        reload(page)
        page.until("document.querySelector('#update').hidden === false")
        assert page.run("document.title") == "Horses or humans?"  # a page keeps the version that it began with
        reload(page)
        page.until(f"document.title === 'A new model' && {READY}")


def test_it_can_be_installed(page: Page, address: str) -> None:
    page.open(address).until(OFFLINE)
    assert page.send("Page.getInstallabilityErrors")["installabilityErrors"] == []


def test_a_static_site_runs_in_any_folder_of_any_host(page: Page, files: dict[str, bytes], tmp_path: Path) -> None:
    site.write(files, tmp_path / "where")
    with static_host(some=tmp_path) as host:
        page.open(f"{host}some/where/").until(OFFLINE)
        blocked = page.run("""
            const blocked = new Promise((resolve) =>
              addEventListener("securitypolicyviolation", (event) => resolve(event.effectiveDirective)));
            fetch("https://example.com/").catch(() => {});
            return blocked;
        """)
        assert blocked == "connect-src"


# Accessibility


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_axe_finds_nothing(dark: bool, page: Page, address: str, tmp_path: Path) -> None:
    if not AXE.is_file():
        pytest.skip("needs `npm ci` in tests/web")
    violations = "return (await axe.run()).violations.map((v) => [v.id, v.nodes.map((n) => n.html)])"
    page.screen(390, 844, dark=dark, phone=True)
    permit_camera(page, address, "prompt")
    page.open(address).until(READY)
    page.run(AXE.read_text() + "; return true")
    assert page.run(violations) == []
    picture(0).save(tmp_path / "photo.png")
    scores_of(page, tmp_path / "photo.png")
    (tmp_path / "notes.txt").write_text("no image")
    page.choose(tmp_path / "notes.txt")
    page.until(ERROR)
    assert page.run(violations) == []


# Parity


SIZES = ((96, 96), (40, 70), (200, 131), (333, 500))
SEEN = """(() => {
  const seen = document.querySelector("#seen");
  return btoa(String.fromCharCode(...seen.getContext("2d").getImageData(0, 0, seen.width, seen.height).data));
})()"""


def pixels_of(seen: str) -> np.ndarray:
    return np.frombuffer(base64.b64decode(seen), np.uint8).reshape(*IMAGE_SIZE, 4)[..., :3]


def assert_alike(seen: np.ndarray, path: Path) -> None:
    """What the page sees is what bin/predict sees, but for rounding."""
    expected = read_pixels(str(path), ImageForm(IMAGE_SIZE)).astype(int)
    np.testing.assert_allclose(seen, expected, atol=1, err_msg=path.name)
    assert abs((seen - expected).mean()) < 0.2, path.name


def save_variants(folder: Path) -> list[Path]:
    """96 pictures: two classes, four sizes, and twelve ways to write each."""
    # sRGB with red and blue exchanged: who applies it sees other pixels than the file holds.
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    profile = profile.replace(b"rXYZ", b"????").replace(b"bXYZ", b"rXYZ").replace(b"????", b"bXYZ")
    paths = []

    def save(name: str, image: Image.Image, **options: object) -> None:
        paths.append(folder / name)
        image.save(paths[-1], **options)

    for label, (number, size) in itertools.product((0, 1), enumerate(SIZES)):
        image = picture(label, seed=10 * label + number).resize(size[::-1], Image.Resampling.BICUBIC)
        name = f"{label}-{number}"
        for orientation in range(1, 9):
            exif = Image.Exif()
            exif[ExifTags.Base.Orientation] = orientation
            save(f"{name}-orientation{orientation}.jpg", image, exif=exif, icc_profile=profile)
        save(f"{name}-grey.jpg", image.convert("L"))
        save(f"{name}-palette.png", image.quantize(64))
        save(f"{name}-alpha.png", image.convert("RGBA"))
        save(f"{name}-profile.png", image, icc_profile=profile)
    return paths


def predicted(bundle: Path, paths: list[Path], capsys: pytest.CaptureFixture[str]) -> dict[str, dict[str, float]]:
    """What bin/predict says of each picture: its scores by class."""
    capsys.readouterr()
    assert predict([f"--model={bundle / 'model_int8.tflite'}", "--json", "--top=2", *map(str, paths)]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    return {row["path"]: {best["class"]: best["score"] for best in row["top"]} for row in rows}


def test_the_page_and_predict_agree(
    page: Page, address: str, bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = save_variants(tmp_path)
    expected = predicted(bundle, paths, capsys)
    permit_camera(page, address, "prompt")
    page.open(address).until(READY)
    differences = {}
    for path in paths:
        scores, ours = scores_of(page, path), expected[str(path)]
        assert_alike(pixels_of(page.run(f"return {SEEN}")), path)
        differences[path.name] = max(abs(score - ours[name]) for name, score in zip(CLASS_NAMES, scores, strict=True))
        assert CLASS_NAMES[int(np.argmax(scores))] == max(ours, key=lambda name: ours[name]), (path.name, scores, ours)
    assert len(differences) == 96
    far = {name: difference for name, difference in differences.items() if difference > 0.01}
    assert len(far) <= 1, far


def test_webkit_sees_and_says_the_same_of_a_photo(
    address: str, bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if not has_webkit():
        pytest.skip("needs Debian's webkit2gtk-driver and xvfb")
    kinds = ("3-orientation6.jpg", "2-grey.jpg", "1-alpha.png", "0-palette.png", "1-profile.png")
    paths = [path for path in save_variants(tmp_path) if path.name.partition("-")[2] in kinds]
    expected = predicted(bundle, paths, capsys)
    with webkit(tmp_path) as browser:
        browser.open(address)
        browser.until(READY)
        for path in paths:
            browser.run("document.querySelector('#time').textContent = ''")
            browser.choose(path)
            browser.until("document.querySelector('#time').textContent || " + ERROR)
            assert browser.run(ERROR) == ""
            assert_alike(pixels_of(browser.run(SEEN)), path)
            for name, score in zip(CLASS_NAMES, browser.run(SCORES), strict=True):
                assert abs(score - expected[str(path)][name]) < 0.01, path.name
        browser.run("document.querySelector('#camera').click()")
        assert "choose a photo" in browser.until(ERROR)  # no camera here


@pytest.mark.parametrize("aspect", ["stretch", "crop", "pad"])
@pytest.mark.parametrize("size", [(24, 30), (7, 50), (61, 20), (1, 1), (3000, 2000)])
def test_the_pixels_are_those_of_training(aspect: str, size: tuple[int, int], page: Page, address: str) -> None:
    import keras

    noise = np.random.default_rng(0).integers(0, 256, (300, 100, 3), np.uint8)
    image = np.tile(noise, (-(-size[0] // 300), -(-size[1] // 100), 1))[: size[0], : size[1]]
    encoded = io.BytesIO()
    Image.fromarray(image).save(encoded, "PNG")
    height, width = 24, 20
    page.open(address).until(READY)
    made = page.run(f"""
        const {{ readPixels }} = await import("./pixels.js");
        const bytes = Uint8Array.from(atob("{base64.b64encode(encoded.getvalue()).decode()}"), (c) => c.charCodeAt(0));
        const bitmap = await createImageBitmap(new Blob([bytes]));
        return Array.from(readPixels(bitmap, {size[1]}, {size[0]}, {{ width: {width}, height: {height}, aspect: "{aspect}" }}));
    """)
    expected = keras.ops.image.resize(
        image.astype(np.float32),
        (height, width),
        interpolation="bilinear",
        crop_to_aspect_ratio=aspect == "crop",
        pad_to_aspect_ratio=aspect == "pad",
    )
    np.testing.assert_array_equal(np.reshape(made, (height, width, 3)), np.rint(np.asarray(expected)))
