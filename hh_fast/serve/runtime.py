"""LiteRT.js, which runs the model in the page: downloaded once by npm, checked against npm/package-lock.json."""

import json
import logging
import shutil
import subprocess
from pathlib import Path

from hh_fast.errors import DataError
from hh_fast.io.files import atomic_dir

logger = logging.getLogger(__name__)

NPM = Path(__file__).parent / "npm"
CORE, UTILS = "@litertjs/core", "@litertjs/wasm-utils"
# The build without relaxed SIMD, which is as fast and runs in all browsers (WebKit has no relaxed SIMD).
FILES = {
    "index.js": f"{CORE}/dist/index.js",
    "litert_wasm_compat_internal.js": f"{CORE}/wasm/litert_wasm_compat_internal.js",
    "litert_wasm_compat_internal.wasm": f"{CORE}/wasm/litert_wasm_compat_internal.wasm",
    "wasm-utils.js": f"{UTILS}/dist/index.js",
}
# Browsers do not resolve bare names, and an import map would need a weaker content security policy.
BARE_IMPORT, RELATIVE_IMPORT = b'from "@litertjs/wasm-utils";', b'from "./wasm-utils.js";'


def version() -> str:
    return str(json.loads((NPM / "package.json").read_text())["dependencies"][CORE])


def _npm_failure(stderr: str) -> str:
    lines = [line.removeprefix("npm error").strip() for line in stderr.splitlines() if line.startswith("npm error")]
    return "; ".join(line for line in lines if line and "complete log" not in line)[:300]


def _fetch(target: Path) -> None:
    npm = shutil.which("npm")
    if npm is None:
        raise DataError(
            f"the page needs {CORE} {version()}, but there is no npm to download it: install Node.js, or install it with {UTILS} on"
            " another machine, copy it here and give --runtime_dir"
        )
    logger.info("Downloading %s %s with npm (once)", CORE, version())
    with atomic_dir(target) as folder:
        for name in ("package.json", "package-lock.json"):
            shutil.copyfile(NPM / name, folder / name)
        command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--fetch-retries=1"]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        if done.returncode:
            raise DataError(
                f"npm could not download {CORE} {version()}: {_npm_failure(done.stderr)}; fix that, or give --runtime_dir"
            )


def read_runtime(runtime_dir: Path | None, cache_dir: Path) -> dict[str, bytes]:
    """The files of LiteRT.js for the page, by name, from `runtime_dir`, or from `cache_dir`, downloaded if necessary.

    Raises:
        DataError: npm is missing or fails; or `runtime_dir` lacks a file or has another version.
    """
    folder = runtime_dir or cache_dir / f"litertjs-{version()}"
    if runtime_dir is None and not folder.is_dir():
        _fetch(folder)
    modules = folder / "node_modules" if (folder / "node_modules").is_dir() else folder
    remedy = f"it must contain {CORE} {version()} and {UTILS}, as installed by `npm install {CORE}@{version()}`"
    try:
        found = json.loads((modules / CORE / "package.json").read_text()).get("version")
        files = {name: (modules / path).read_bytes() for name, path in FILES.items()}
    except (OSError, ValueError) as e:
        raise DataError(f"`runtime_dir` has no runtime: {e}; {remedy}. Received: {folder}") from e
    if found != version() or files["index.js"].count(BARE_IMPORT) != 1:
        raise DataError(f"`runtime_dir` has another runtime, version {found}; {remedy}. Received: {folder}")
    return files | {"index.js": files["index.js"].replace(BARE_IMPORT, RELATIVE_IMPORT)}
