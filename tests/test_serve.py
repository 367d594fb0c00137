"""bin/serve without a browser: what the site holds, and a server that stays up whatever comes in."""

import concurrent.futures
import contextlib
import gzip
import http.client
import json
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
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hh_fast.cli import command
from hh_fast.cli.serve import main
from hh_fast.config import ServeConfig
from hh_fast.errors import DataError, UsageError
from hh_fast.serve import certificate, run, runtime, server, site
from hh_fast.serve.qr import qr_code
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
        "left_out": {},
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
        "unknown_class": None,
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


def test_without_an_int8_file_the_page_takes_the_next_and_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tensor = {"dtype": "float32", "quantization": None}
    entries = {
        name: {"file": f"model_{name}.tflite", "bytes": 5, "input": tensor, "output": tensor}
        for name in ("float16", "float32")
    }
    bundle = write_bundle(tmp_path, files=entries, left_out={"int8": "too few images got the same class"})
    (bundle / "model_float32.tflite").write_bytes(b"float")
    found = site.read_bundle(bundle)
    assert (found.content, found.model["file"], found.model["dtype"]) == (b"float", "model_float32.tflite", "float32")
    assert caplog.messages == [
        "The bundle has no int8 file (too few images got the same class), so the page runs model_float32.tflite: larger, and"
        " slower on phones"
    ]


def test_the_class_that_is_none_of_the_others_is_not_in_the_title(tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path, class_names=["cats", "dogs", "unknown"], unknown_class="unknown")
    found = site.read_bundle(bundle)
    assert (found.title, found.model["unknown_class"]) == ("Cats or dogs?", "unknown")


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
    (
        lambda folder: write_bundle(folder, files={}),
        "has no file that the page can run: export it with one of --formats=int8,float32,dynamic,float16",
    ),
    (lambda folder: write_bundle(folder, input={"resize": "in words"}), "is a bundle of an older hh_fast"),
    (
        lambda folder: write_bundle(folder, input={"resize": {"aspect": "crop", "interpolation": "area"}}),
        "the page resizes bilinearly to whole pixels, but this model takes area, crop",
    ),
    (lambda folder: (folder / "model_int8.tflite").write_bytes(b"a mod"), "is truncated: it should have 7 bytes"),
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
        DataError, match=f"`runtime_dir` has another runtime, version {re.escape(version)}; it must contain"
    ):
        runtime.read_runtime(write_runtime(tmp_path, version, text), tmp_path / "cache")


def test_without_npm_one_line_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DataError, match="there is no npm to download it: install Node.js, or .* give --runtime_dir"):
        runtime.read_runtime(None, tmp_path / "cache")


def test_an_npm_that_fails_says_why_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    npm = tmp_path / "npm"
    npm.write_text("#!/bin/sh\necho 'npm error code ENOTFOUND' >&2\necho 'npm error network no way out' >&2\nexit 1\n")
    npm.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(
        DataError, match="could not download @litertjs/core .*: code ENOTFOUND; network no way out; fix that"
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
    with contextlib.ExitStack() as stack:

        def starting(*, secure: bool = False, host: str = "127.0.0.1") -> SiteServer:
            context = None
            if secure:
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                context.load_cert_chain(certificate.own_certificate(tmp_path))
            served = stack.enter_context(SiteServer(host, 0, files, context))
            stack.enter_context(served.running())
            return served

        yield starting


def connect(served: SiteServer) -> socket.socket:
    plain = socket.create_connection(served.server_address[:2], timeout=10)
    if served.context is None:
        return plain
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context.wrap_socket(plain)


def ask(
    served: SiteServer, method: str = "GET", path: str = "/", **headers: str
) -> tuple[http.client.HTTPResponse, bytes]:
    connection = http.client.HTTPConnection("served", timeout=10)
    connection.sock = connect(served)
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


@pytest.mark.parametrize("secure", [False, True], ids=["http", "https"])
@pytest.mark.parametrize(
    "sent", [b"", b"\x16", b"GET / HTTP/1.1\r\nX-Drip: "], ids=["idle", "half a handshake", "half a request"]
)
def test_200_slow_clients_do_not_keep_others_out(secure: bool, sent: bytes, start: Callable[..., SiteServer]) -> None:
    served = start(secure=secure)
    slow = [socket.create_connection(served.server_address[:2], timeout=10) for _ in range(200)]
    for client in slow:
        client.sendall(sent)
    begin = time.monotonic()
    assert ask(served)[0].status == 200
    assert time.monotonic() - begin < 5
    for client in slow:
        client.close()


@pytest.mark.parametrize("secure", [False, True], ids=["http", "https"])
def test_an_idle_client_is_let_go(
    secure: bool, start: Callable[..., SiteServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "REQUEST_S", 0.2)
    with socket.create_connection(start(secure=secure).server_address[:2], timeout=10) as client:
        assert client.recv(1) == b""


def test_a_client_that_reads_nothing_is_let_go(
    start: Callable[..., SiteServer], files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "CHUNK_S", 0.2)
    files["model_int8.tflite"] = b"x" * 50_000_000
    served = start()
    before = threading.active_count()
    with connect(served) as client:
        client.sendall(b"GET /model_int8.tflite HTTP/1.0\r\n\r\n")
        client.recv(1)
        assert threading.active_count() == before + 1
        end = time.monotonic() + 10
        while threading.active_count() > before and time.monotonic() < end:
            time.sleep(0.01)
        assert threading.active_count() == before


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


def test_ipv6(start: Callable[..., SiteServer]) -> None:
    if not socket.has_dualstack_ipv6():
        pytest.skip("this machine has no IPv6")
    assert ask(start(host="::1"))[0].status == 200


# The command


def options(tmp_path: Path, *more: str) -> list[str]:
    bundle = write_bundle(tmp_path / "bundle")
    return [f"--export_dir={bundle}", f"--runtime_dir={write_runtime(tmp_path / 'runtime')}", "--http_port=0", *more]


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
        == f"serve: port {port} is used by another program: choose another (--port, --http_port)\n"
    )


def test_a_key_of_another_certificate_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = certificate.own_certificate(tmp_path / "a"), certificate.own_certificate(tmp_path / "b")
    assert main(options(tmp_path, f"--cert={first}", f"--key={second}", "--port=0")) == 1
    assert "`cert` and `key` must be PEM files that belong together" in capsys.readouterr().err


def test_a_certificate_is_found_in_the_home_folder_and_one_that_is_missing_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    path = certificate.own_certificate(tmp_path)
    monkeypatch.setattr(SiteServer, "serve_forever", lambda *_, **__: None)
    monkeypatch.setattr(SiteServer, "shutdown", lambda *_: None)
    assert main(options(tmp_path, "--cert=~/certificate.pem", "--key=~/certificate.pem", "--port=0")) == 0
    assert "(camera, offline, install)" in capsys.readouterr().out
    for given in (f"--cert={path} --key=~/none.pem", f"--cert=~/none.pem --key={path}"):
        assert main(options(tmp_path, *given.split(), "--port=0")) == 2
        assert capsys.readouterr().err == f"serve: No such file or directory: {tmp_path / 'none.pem'}; check the path\n"


HOSTS = [
    # flags, the address for this machine, the one for a phone; the ports are --port's and --http_port's
    ("", "http://localhost:{1}/", "https://192.168.1.20:{0}/"),
    ("--https=off", "http://localhost:{0}/", "http://192.168.1.20:{0}/"),
    ("--host=127.0.0.1", "http://localhost:{0}/", None),
    ("--host=localhost", "http://localhost:{0}/", None),
    ("--host=127.0.0.2", "http://127.0.0.2:{0}/", None),
    ("--host=::1", "http://[::1]:{0}/", None),
    ("--host=::", "http://localhost:{1}/", "https://192.168.1.20:{0}/"),
]


@pytest.mark.parametrize(("given", "here", "phone"), HOSTS, ids=[given for given, *_ in HOSTS])
def test_the_addresses_are_said_and_drawn_and_answer(
    given: str, here: str, phone: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "::" in given and not socket.has_dualstack_ipv6():
        pytest.skip("this machine has no IPv6")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(certificate, "lan_address", lambda: "192.168.1.20")
    opened: list[SiteServer] = []
    said: list[str] = []
    statuses: list[int] = []

    def visit() -> None:
        try:
            with urllib.request.urlopen(re.findall(r"On this machine: +(\S+) ", said[0])[0], timeout=10) as response:
                statuses.append(response.status)
        finally:
            opened[0].shutdown()

    def say(text: str) -> None:
        said.append(text)
        threading.Thread(target=visit).start()

    class Recorded(SiteServer):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            opened.append(self)

    monkeypatch.setattr(run, "SiteServer", Recorded)
    (config,), _ = command.parse((ServeConfig,), options(tmp_path, "--port=0", *given.split()))
    run.serve(config, say)
    ports = [served.port for served in opened]
    assert f"On this machine:   {here.format(*ports)}  (camera, offline, install)" in said[0]
    assert statuses == [200]
    if phone is None:
        assert "phone" not in said[0]
    else:
        assert f"On a phone nearby: {phone.format(*ports)}  (" in said[0]
        assert qr_code(phone.format(*ports)) in said[0]


def test_an_empty_host_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(options(tmp_path, "--host=")) == 1
    assert capsys.readouterr().err == (
        "serve: `host` must be an address of this machine, or 0.0.0.0 for all of them. Received: \n"
    )


def test_a_host_of_another_machine_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(options(tmp_path, "--host=192.0.2.1", "--port=0", "--https=off")) == 1
    assert capsys.readouterr().err.startswith("serve: `host` must be an address of this machine. Received: 192.0.2.1 (")
