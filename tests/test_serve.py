"""bin/serve without a browser: what the site holds, and a server that stays up whatever comes in."""

import concurrent.futures
import gzip
import http.client
import json
import logging
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from hh_fast.cli.serve import main
from hh_fast.errors import DataError, UsageError
from hh_fast.serve import certificate, runtime, server, site
from hh_fast.serve.qr import qr_code
from hh_fast.serve.run import serve
from hh_fast.serve.server import SiteServer

RUNTIME = {name: b"// " + name.encode() for name in runtime.FILES}


def write_bundle(folder: Path, *, content: bytes = b"a model", **changed: object) -> Path:
    """What the page reads of a bundle; the file is no model, for what only hands it out."""
    tensor = {"dtype": "uint8", "quantization": {"scale": 1.0, "zero_point": 0}}
    scores = {"dtype": "uint8", "quantization": {"scale": 1 / 256, "zero_point": 0}}
    metadata = {
        "name": "mine",
        "class_names": ["horses", "humans"],
        "input": {"height": 96, "width": 90, "resize": {"aspect": "stretch", "interpolation": "bilinear"}},
        "made_from": {"training": {"run_dir": "/home/someone/runs"}},
        "files": {"int8": {"file": "model_int8.tflite", "bytes": len(content), "input": tensor, "output": scores}},
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "metadata.json").write_text(json.dumps(metadata | changed))
    (folder / "model_int8.tflite").write_bytes(content)
    return folder


@pytest.fixture
def files(tmp_path: Path) -> dict[str, bytes]:
    return site.build(site.read_bundle(write_bundle(tmp_path / "bundle")), RUNTIME)


# The site


def test_the_page_gets_what_it_needs_of_the_model_and_no_path(files: dict[str, bytes]) -> None:
    assert json.loads(files["model.json"]) == {
        "file": "model_int8.tflite",
        "class_names": ["horses", "humans"],
        "height": 96,
        "width": 90,
        "aspect": "stretch",
        "dtype": "uint8",
        "output": {"scale": 1 / 256, "zero_point": 0},
    }
    assert not [name for name, content in files.items() if b"someone" in content]
    assert b"<title>Horses or humans?</title>" in files["index.html"]


def test_class_names_are_text_and_not_markup(tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path, class_names=["<script>alert(1)</script>", "b"])
    index = site.build(site.read_bundle(bundle), RUNTIME)["index.html"]
    assert b"<h1>&lt;script&gt;alert(1)&lt;/script&gt; or b?</h1>" in index


def test_the_worker_keeps_every_file_and_is_another_for_another_model(files: dict[str, bytes], tmp_path: Path) -> None:
    worker = files["sw.js"].decode()
    kept = set(re.findall(r'^  "(.+)": "sha256-', worker, re.MULTILINE))
    assert kept == set(files) - {"sw.js", "index.html"} | {"./"}
    again = site.build(site.read_bundle(tmp_path / "bundle"), RUNTIME)
    assert again["sw.js"] == files["sw.js"]
    other = site.build(site.read_bundle(write_bundle(tmp_path / "other", content=b"another")), RUNTIME)
    assert other["sw.js"] != files["sw.js"]


def test_the_policy_of_the_page_is_the_servers(files: dict[str, bytes]) -> None:
    assert f'http-equiv="Content-Security-Policy" content="{server.POLICY}"' in files["index.html"].decode()


def test_a_static_site_is_written_over_an_older_one(files: dict[str, bytes], tmp_path: Path) -> None:
    for content in (b"old", b"new"):
        site.write(files | {"litert/index.js": content}, tmp_path / "site")
        assert (tmp_path / "site" / "litert" / "index.js").read_bytes() == content


def test_other_peoples_files_in_a_site_stay(files: dict[str, bytes], tmp_path: Path) -> None:
    folder = tmp_path / "site"
    (folder / ".git").mkdir(parents=True)
    (folder / ".git" / "HEAD").write_text("mine")
    site.write(files, folder)
    (folder / "CNAME").write_text("me.example")
    site.write(files, folder)
    assert (folder / "CNAME").read_text() == "me.example"
    assert (folder / ".git" / "HEAD").read_text() == "mine"


def test_a_folder_with_other_files_is_left_alone(files: dict[str, bytes], tmp_path: Path) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sw.js").write_text("mine")
    with pytest.raises(
        UsageError, match="`site_dir` must be new, empty or a site folder of hh_fast. Received: .* sw.js: "
    ):
        site.write(files, tmp_path / "site")
    assert [path.name for path in (tmp_path / "site").iterdir()] == ["sw.js"]


BAD_BUNDLES = [
    # what is done to the bundle, what the error says
    (lambda folder: shutil.rmtree(folder), "`export_dir` must be a bundle that bin/export wrote. Received: "),
    (lambda folder: (folder / "metadata.json").write_text("{"), "metadata.json is damaged"),
    (lambda folder: write_bundle(folder, files={}), "has no int8 file for the page: export it with --formats="),
    (lambda folder: write_bundle(folder, input={"resize": "in words"}), "is a bundle of an older hh_fast"),
    (
        lambda folder: write_bundle(folder, input={"resize": {"aspect": "crop", "interpolation": "area"}}),
        "the page makes whole pixels by bilinear resizing, and this model takes area, crop",
    ),
    (lambda folder: (folder / "model_int8.tflite").write_bytes(b"a mod"), "is cut off: it should have 7 bytes"),
]


@pytest.mark.parametrize(("damage", "text"), BAD_BUNDLES, ids=[text for _, text in BAD_BUNDLES])
def test_a_bundle_that_cannot_be_served_is_named(
    damage: Callable[[Path], object], text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    damage(write_bundle(tmp_path / "bundle"))
    assert main([f"--export_dir={tmp_path / 'bundle'}", f"--site_dir={tmp_path / 'site'}"]) == 2
    error = capsys.readouterr().err
    assert text in error
    assert error.count("\n") == 1
    assert not (tmp_path / "site").exists()


# The runtime


def write_runtime(folder: Path, version: str = runtime.version(), text: bytes = runtime.BARE_IMPORT) -> Path:
    for path in runtime.FILES.values():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(text)
    (folder / runtime.CORE / "package.json").write_text(json.dumps({"version": version}))
    return folder


def test_an_unpacked_runtime_needs_no_npm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    files = runtime.read_runtime(write_runtime(tmp_path), tmp_path / "cache")
    assert files["index.js"] == runtime.RELATIVE_IMPORT
    assert set(files) == set(runtime.FILES)


@pytest.mark.parametrize(
    ("version", "text"), [("2.4.0", runtime.BARE_IMPORT), (runtime.version(), b"import x from 'elsewhere';")]
)
def test_another_runtime_is_refused(version: str, text: bytes, tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=f"`runtime_dir` has another runtime, version {re.escape(version)}; it must hold"
    ):
        runtime.read_runtime(write_runtime(tmp_path, version, text), tmp_path / "cache")


def test_without_npm_one_line_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DataError, match="there is no npm to fetch it: install Node.js, or .* give --runtime_dir"):
        runtime.read_runtime(None, tmp_path / "cache")


def test_an_npm_that_fails_says_why_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    npm = tmp_path / "npm"
    npm.write_text("#!/bin/sh\necho 'npm error code ENOTFOUND' >&2\necho 'npm error network no way out' >&2\nexit 1\n")
    npm.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(
        DataError, match="could not fetch @litertjs/core .*: code ENOTFOUND; network no way out; mend that"
    ):
        runtime.read_runtime(None, tmp_path / "cache")
    assert not list((tmp_path / "cache").iterdir())


def test_the_lock_pins_by_hash_and_names_no_registry() -> None:
    packages = json.loads((runtime.NPM / "package-lock.json").read_text())["packages"]
    del packages[""]
    assert packages[f"node_modules/{runtime.CORE}"]["version"] == runtime.version()
    assert all(entry["integrity"].startswith("sha512-") and "resolved" not in entry for entry in packages.values())


# The certificate, and the QR code


def test_the_certificate_is_kept_while_it_names_all_addresses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = certificate.own_certificate(tmp_path)
    assert path.stat().st_mode & 0o777 == 0o600
    first = path.read_bytes()
    assert certificate.own_certificate(tmp_path).read_bytes() == first
    assert certificate.names_in(path) == certificate.own_names()
    monkeypatch.setattr(certificate, "own_names", lambda: ["localhost", "10.1.2.3"])
    assert certificate.own_certificate(tmp_path).read_bytes() != first
    assert certificate.names_in(path) == ["localhost", "10.1.2.3"]
    monkeypatch.setattr(certificate, "RENEW_BEFORE", certificate.LIFETIME)
    kept = path.read_bytes()
    assert certificate.own_certificate(tmp_path).read_bytes() != kept


def test_the_qr_code_reads_back_on_any_terminal() -> None:
    cv2 = pytest.importorskip("cv2")
    address = "https://192.168.1.20:8443/"
    rows = []
    for line in qr_code(address).split("\n"):
        match = re.fullmatch(r"\033\[38;5;16;48;5;231m([ ▀▄█]+)\033\[0m", line)  # black on white, whatever the theme
        assert match is not None
        rows += [[c in "▀█" for c in match[1]], [c in "▄█" for c in match[1]]]
    image = np.where(rows, 0, 255).astype(np.uint8).repeat(8, axis=0).repeat(8, axis=1)
    assert cv2.QRCodeDetector().detectAndDecode(np.pad(image, 32, constant_values=255))[0] == address


# The server


@pytest.fixture
def start(files: dict[str, bytes], tmp_path: Path) -> Iterator[Callable[..., SiteServer]]:
    opened = []

    def starting(*, secure: bool = False, host: str = "127.0.0.1") -> SiteServer:
        context = None
        if secure:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate.own_certificate(tmp_path))
        served = SiteServer((host, 0), files, context)
        thread = threading.Thread(target=served.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        opened.append((served, thread))
        return served

    yield starting
    for served, thread in opened:
        served.shutdown()
        thread.join()
        served.server_close()


def ask(
    served: SiteServer, method: str = "GET", path: str = "/", **headers: str
) -> tuple[http.client.HTTPResponse, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=10)
    connection.putrequest(method, path, skip_accept_encoding=True)
    for name, value in headers.items():
        connection.putheader(name.replace("_", "-"), value)
    connection.endheaders()
    response = connection.getresponse()
    body = response.read()
    connection.close()
    return response, body


TYPES = [
    ("/", "text/html; charset=utf-8"),
    ("/app.js", "text/javascript; charset=utf-8"),
    ("/litert/litert_wasm_compat_internal.wasm", "application/wasm"),
    ("/manifest.webmanifest", "application/manifest+json"),
    ("/model_int8.tflite", "application/octet-stream"),
    ("/index.html?from=qr", "text/html; charset=utf-8"),
]


@pytest.mark.parametrize(("path", "kind"), TYPES)
def test_files_come_with_their_type_and_the_policy(
    path: str, kind: str, start: Callable[..., SiteServer], files: dict[str, bytes]
) -> None:
    served = start()
    response, body = ask(served, path=path)
    assert (response.status, response.headers["Content-Type"]) == (200, kind)
    assert body == files[path.partition("?")[0][1:] or "index.html"]
    assert response.headers["Content-Security-Policy"] == server.POLICY
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert ask(served, "HEAD", path)[1] == b""
    again, nothing = ask(served, path=path, If_None_Match=response.headers["ETag"])
    assert (again.status, nothing) == (304, b"")


def test_who_takes_gzip_gets_less(start: Callable[..., SiteServer], files: dict[str, bytes]) -> None:
    response, body = ask(start(), path="/app.js", Accept_Encoding="br, gzip")
    assert (response.headers["Content-Encoding"], response.headers["Vary"]) == ("gzip", "Accept-Encoding")
    assert len(body) == int(response.headers["Content-Length"]) < len(files["app.js"]) / 2
    assert gzip.decompress(body) == files["app.js"]


HOSTILE = [
    # method, path, status
    ("GET", "/../metadata.json", 404),
    ("GET", "/..%2f..%2fetc/passwd", 404),
    ("GET", "/%2e%2e/%2e%2e/etc/passwd", 404),
    ("GET", "//etc/passwd", 404),
    ("GET", "/litert/", 404),
    ("GET", "/litert", 404),
    ("GET", "http://elsewhere.example/", 404),
    ("GET", "/metadata.json", 404),
    ("POST", "/", 501),
    ("PUT", "/app.js", 501),
    ("DELETE", "/app.js", 501),
    ("GET", "/" + "a" * 70_000, 414),
]


@pytest.mark.parametrize(("method", "path", "status"), HOSTILE, ids=[f"{m} {p[:30]}" for m, p, _ in HOSTILE])
def test_only_the_sites_own_files_are_served(
    method: str, path: str, status: int, start: Callable[..., SiteServer]
) -> None:
    response, body = ask(start(), method, path)
    assert response.status == status
    assert response.headers["Content-Type"].startswith("text/plain")
    assert len(body) < 200


def test_long_and_many_headers_are_refused(start: Callable[..., SiteServer]) -> None:
    served = start()
    assert ask(served, X_Long="a" * 70_000)[0].status == 431
    assert ask(served, **{f"X_{i}": "a" for i in range(200)})[0].status == 431
    assert ask(served)[0].status == 200


def connect(served: SiteServer) -> socket.socket:
    return socket.create_connection(("127.0.0.1", served.port), timeout=10)


@pytest.mark.parametrize("secure", [False, True], ids=["http", "https"])
@pytest.mark.parametrize(
    "sent", [b"", b"\x16", b"GET / HTTP/1.1\r\nX-Drip: "], ids=["idle", "half a handshake", "half a request"]
)
def test_200_slow_clients_do_not_keep_others_out(secure: bool, sent: bytes, start: Callable[..., SiteServer]) -> None:
    served = start(secure=secure)
    slow = [connect(served) for _ in range(200)]
    for client in slow:
        client.sendall(sent)
    begin = time.monotonic()
    assert ask(served)[0].status == 200
    # The thread of one that gave way ends when it is next run.
    while served.num_connections > server.MAX_CONNECTIONS and time.monotonic() - begin < 5:
        time.sleep(0.01)
    assert served.num_connections <= server.MAX_CONNECTIONS
    assert time.monotonic() - begin < 5
    for client in slow:
        client.close()


def test_a_request_that_drips_is_let_go(start: Callable[..., SiteServer], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "REQUEST_S", 0.5)
    with connect(start()) as client:
        begin = time.monotonic()
        with pytest.raises((ConnectionError, TimeoutError)):  # the server has hung up
            for _ in range(100):
                client.sendall(b"G")
                time.sleep(0.05)
        assert time.monotonic() - begin < 4


def test_a_client_that_reads_nothing_is_let_go(
    start: Callable[..., SiteServer], files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "CHUNK_S", 0.2)
    files["model_int8.tflite"] = b"x" * 50_000_000
    served = start()
    with connect(served) as client:
        client.sendall(b"GET /model_int8.tflite HTTP/1.0\r\n\r\n")
        end = time.monotonic() + 10
        while served.num_connections == 0 and time.monotonic() < end:
            time.sleep(0.01)
        while served.num_connections and time.monotonic() < end:
            time.sleep(0.01)
        assert served.num_connections == 0


def test_200_clients_at_once_all_get_the_page(start: Callable[..., SiteServer], files: dict[str, bytes]) -> None:
    served = start()
    with concurrent.futures.ThreadPoolExecutor(50) as pool:
        bodies = list(pool.map(lambda _: ask(served)[1], range(200)))
    assert bodies == [files["index.html"]] * 200


def test_https_by_the_own_certificate(
    start: Callable[..., SiteServer], files: dict[str, bytes], tmp_path: Path
) -> None:
    served = start(secure=True)
    trusting = ssl.create_default_context(cafile=str(tmp_path / "certificate.pem"))
    connection = http.client.HTTPSConnection("localhost", served.port, context=trusting, timeout=10)
    connection.request("GET", "/app.js")
    assert connection.getresponse().read() == files["app.js"]
    connection.close()
    assert ask(served)[0].status == 200  # plain http on the same port, for this machine's own browser


def test_a_visitor_by_http_is_led_to_https(start: Callable[..., SiteServer]) -> None:
    address = certificate.lan_address()
    if address is None:
        pytest.skip("this machine is in no network")
    served = start(secure=True, host="0.0.0.0")
    for host, status, location in (
        (f"{address}:{served.port}", 307, f"https://{address}:{served.port}/"),
        ("x\x01<script>", 400, None),
    ):
        with socket.create_connection((address, served.port), timeout=10) as client:
            client.sendall(f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
            response = http.client.HTTPResponse(client)
            response.begin()
            assert (response.status, response.headers["Location"]) == (status, location)


# The command


def options(tmp_path: Path, *more: str) -> list[str]:
    bundle = write_bundle(tmp_path / "bundle")
    return [f"--export_dir={bundle}", f"--runtime_dir={write_runtime(tmp_path / 'runtime')}", *more]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_it_at_once(number: int, code: int, tmp_path: Path) -> None:
    words = [sys.executable, "-c", "import sys; from hh_fast.cli.serve import main; code = main();"
             " sys.exit(99 if 'tensorflow' in sys.modules else code)"]  # fmt: skip
    with subprocess.Popen(
        [*words, *options(tmp_path, "--port=0", "--qr=false")],
        env=os.environ | {"XDG_CACHE_HOME": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        line = process.stdout.readline() if process.stdout else ""
        port = int(re.findall(r"On this machine: +http://localhost:(\d+)/", line)[0])
        idle = socket.create_connection(("127.0.0.1", port))
        begin = time.monotonic()
        process.send_signal(number)
        _, errors = process.communicate(timeout=10)
        assert process.returncode == code
        assert time.monotonic() - begin < 3
        assert "Traceback" not in errors
        idle.close()


def test_a_taken_port_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(options(tmp_path, f"--port={port}", "--host=127.0.0.1")) == 1
    assert (
        capsys.readouterr().err
        == f"serve: `port` must be free. Received: {port}, which another program uses; choose another\n"
    )


def test_a_key_of_another_certificate_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = certificate.own_certificate(tmp_path / "a"), certificate.own_certificate(tmp_path / "b")
    assert main(options(tmp_path, f"--cert={first}", f"--key={second}", "--port=0")) == 1
    assert "`cert` and `key` must be PEM files that belong together" in capsys.readouterr().err


def test_the_address_is_said_and_drawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from hh_fast.cli import command
    from hh_fast.config import ServeConfig

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(SiteServer, "serve_forever", lambda *_, **__: None)
    monkeypatch.setattr(certificate, "lan_address", lambda: "192.168.1.20")
    for more, address in (([], "https://192.168.1.20"), (["--https=off"], "http://192.168.1.20")):
        (config,), _ = command.parse((ServeConfig,), options(tmp_path, "--port=0", *more))
        said: list[str] = []
        with caplog.at_level(logging.INFO, "hh_fast"):
            serve(config, said.append)
        text = "\n".join(said)
        port = re.findall(r"http://localhost:(\d+)/", text)[0]
        assert f"On a phone nearby: {address}:{port}/" in text
        assert qr_code(f"{address}:{port}/") in text
