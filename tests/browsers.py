"""Real browsers, driven without a library: Chromium over its debugging pipe, WebKitGTK over WebDriver.

No asserts here, so: PYTEST_DONT_REWRITE.
"""

import base64
import contextlib
import fcntl
import http.server
import json
import os
import shutil
import socket
import subprocess
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

# As root in a container without a GPU or a way out; the rest keeps Chromium from calling home.
CHROMIUM_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
FIND_S = 30


@contextlib.contextmanager
def static_host(**folders: Path) -> Iterator[str]:
    """Any static host: hands out folders, each under its name, on loopback; yields its address, with a slash at the end."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def translate_path(self, path: str) -> str:
            name, _, rest = urllib.parse.unquote(path.partition("?")[0]).lstrip("/").partition("/")
            return f"{folders.get(name, '/nothing')}/{rest}"

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as host:
        thread = threading.Thread(target=host.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield f"http://localhost:{host.server_port}/"
        finally:
            host.shutdown()
            thread.join()


class Page:
    """One tab of a Chromium; `requests` are the addresses that it has asked for, `problems` what its console complained of."""

    def __init__(self, chromium: "Chromium", target: str):
        self.chromium, self.target = chromium, target
        self.session = chromium.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self.requests: list[str] = []
        self.problems: list[str] = []
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.send(f"{domain}.enable")

    def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        return self.chromium.send(method, self.session, **parameters)

    def hear(self, method: str, parameters: dict[str, Any]) -> None:
        if method == "Network.requestWillBeSent":
            self.requests.append(parameters["request"]["url"])
        elif method == "Runtime.exceptionThrown":
            self.problems.append(str(parameters["exceptionDetails"].get("exception", parameters)))
        elif method == "Log.entryAdded" and parameters["entry"]["level"] == "error":
            self.problems.append(parameters["entry"]["text"])

    def open(self, address: str) -> "Page":
        self.send("Page.navigate", url=address)
        return self

    def run(self, code: str) -> Any:
        """The value of JavaScript, which may await."""
        wrapped = f"(async () => {{ {code if 'return' in code else f'return ({code})'} }})()"
        answer = self.send("Runtime.evaluate", expression=wrapped, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(answer["exceptionDetails"]["exception"].get("description", answer))
        return answer["result"].get("value")

    def until(self, condition: str, seconds: float = FIND_S) -> Any:
        """Waits until the JavaScript expression is true, and returns its value."""
        end = time.monotonic() + seconds
        while True:
            with contextlib.suppress(RuntimeError):  # the page may be on its way to another address
                value = self.run(condition)
                if value:
                    return value
            if time.monotonic() > end:
                raise TimeoutError(f"{condition}: never true; the page says {self.text()!r}, {self.problems}")
            time.sleep(0.05)

    def text(self) -> str:
        return str(self.run("document.body.innerText"))

    def choose(self, *paths: Path, into: str = "#file") -> None:
        """Gives files to a file input, as a person's choice does."""
        document = self.send("DOM.getDocument")["root"]["nodeId"]
        node = self.send("DOM.querySelector", nodeId=document, selector=into)["nodeId"]
        self.send("DOM.setFileInputFiles", nodeId=node, files=[str(path) for path in paths])

    def click(self, selector: str) -> None:
        """A click at the middle of an element, by the mouse."""
        where = f"document.querySelector({selector!r}).getBoundingClientRect().toJSON()"
        self.run(f"document.querySelector({selector!r}).scrollIntoView({{block: 'nearest'}})")
        box = self.run(where)
        at = {"x": box["x"] + box["width"] / 2, "y": box["y"] + box["height"] / 2, "button": "left", "clickCount": 1}
        for kind in ("mousePressed", "mouseReleased"):
            self.send("Input.dispatchMouseEvent", type=kind, **at)

    def screen(self, width: int, height: int, *, dark: bool = False, phone: bool = False) -> None:
        self.send("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=phone)
        self.send("Emulation.setTouchEmulationEnabled", enabled=phone)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.send("Emulation.setEmulatedMedia", features=[scheme])

    def screenshot(self, path: Path) -> None:
        path.write_bytes(base64.b64decode(self.send("Page.captureScreenshot", format="png")["data"]))

    def close(self) -> None:
        self.chromium.send("Target.closeTarget", targetId=self.target)


class Chromium:
    """A headless Chromium with a fresh profile, over `--remote-debugging-pipe`."""

    def __init__(self, profile: Path, *flags: str):
        (here_in, out), (into, here_out) = os.pipe(), os.pipe()
        # Chromium wants them to be 3 and 4: out of the way first, so that neither overwrites the other.
        theirs = [fcntl.fcntl(end, fcntl.F_DUPFD, 10) for end in (into, out)]
        words = [*CHROMIUM_FLAGS, f"--user-data-dir={profile}", "--remote-debugging-pipe", *flags, "about:blank"]
        self.process = subprocess.Popen(
            ["bash", "-c", f'exec chromium "$@" 3<&{theirs[0]} 4>&{theirs[1]}', "bash", *words],
            pass_fds=theirs,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for end in (into, out, *theirs):
            os.close(end)
        self.source, self.sink = os.fdopen(here_in, "rb"), os.fdopen(here_out, "wb")
        self.number = 0
        self.left = b""
        self.pages: dict[str, Page] = {}

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self.left:
            more = os.read(self.source.fileno(), 1 << 20)
            if not more:
                raise RuntimeError("Chromium has ended")
            self.left += more
        message, _, self.left = self.left.partition(b"\0")
        return dict(json.loads(message))

    def send(self, method: str, session: str = "", **parameters: Any) -> dict[str, Any]:
        self.number += 1
        message = {"id": self.number, "method": method, "params": parameters} | (
            {"sessionId": session} if session else {}
        )
        self.sink.write(json.dumps(message).encode() + b"\0")
        self.sink.flush()
        while True:
            answer = self._next()
            if answer.get("id") == self.number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']['message']}")
                return dict(answer["result"])
            page = self.pages.get(answer.get("sessionId", ""))
            if page is not None and "method" in answer:
                page.hear(answer["method"], answer["params"])

    def new_page(self) -> Page:
        page = Page(self, self.send("Target.createTarget", url="about:blank")["targetId"])
        self.pages[page.session] = page
        return page

    def close(self) -> None:
        with contextlib.suppress(RuntimeError, OSError):
            self.send("Browser.close")
        self.process.wait(timeout=30)
        self.source.close()
        self.sink.close()


ELEMENT = "element-6066-11e4-a52e-4f735466cecf"  # WebDriver's own name for a reference to an element


def has_webkit() -> bool:
    return all(shutil.which(name) for name in ("WebKitWebDriver", "Xvfb"))


class WebKit:
    """WebKitGTK's browser on a screen of its own, over WebDriver."""

    def __init__(self, port: int):
        self.base = f"http://127.0.0.1:{port}"
        capabilities = {"webkitgtk:browserOptions": {"args": ["--automation"]}}
        self.base += (
            f"/session/{self.send('POST', '/session', capabilities={'alwaysMatch': capabilities})['sessionId']}"
        )

    def send(self, verb: str, path: str, **body: Any) -> Any:
        data = json.dumps(body).encode() if verb == "POST" else None
        request = urllib.request.Request(self.base + path, data, {"Content-Type": "application/json"}, method=verb)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)["value"]

    def run(self, code: str) -> Any:
        return self.send("POST", "/execute/sync", script=f"return {code}", args=[])

    def until(self, condition: str, seconds: float = FIND_S) -> Any:
        end = time.monotonic() + seconds
        while not (value := self.run(condition)):
            if time.monotonic() > end:
                raise TimeoutError(f"{condition}: never true; the page says {self.run('document.body.innerText')!r}")
            time.sleep(0.05)
        return value

    def open(self, address: str) -> None:
        self.send("POST", "/url", url=address)

    def choose(self, path: Path) -> None:
        element = self.send("POST", "/element", using="css selector", value="#file")[ELEMENT]
        self.send("POST", f"/element/{element}/value", text=str(path))


@contextlib.contextmanager
def _running(words: Sequence[str], **environment: str) -> Iterator[None]:
    process = subprocess.Popen(
        words, env=os.environ | environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        yield
    finally:
        process.terminate()
        process.wait(timeout=30)


@contextlib.contextmanager
def webkit(folder: Path) -> Iterator[WebKit]:
    """A fresh WebKitGTK; `folder` takes what it keeps."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    display = f":{port}"
    home = {"HOME": str(folder), "XDG_RUNTIME_DIR": str(folder), "DISPLAY": display}
    with (
        _running(["Xvfb", display, "-screen", "0", "1000x1000x24", "-nolisten", "tcp"]),
        _running(
            ["WebKitWebDriver", f"--port={port}"],
            **home,
            WEBKIT_DISABLE_SANDBOX_THIS_IS_DANGEROUS="1",
            LIBGL_ALWAYS_SOFTWARE="1",
        ),
    ):
        end = time.monotonic() + FIND_S
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.05)
        browser = WebKit(port)
        try:
            yield browser
        finally:
            browser.send("DELETE", "")
