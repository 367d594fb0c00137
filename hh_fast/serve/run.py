"""bin/serve: writes a bundle as a static site, or serves it and prints its address."""

import contextlib
import ipaddress
import logging
import ssl
from collections.abc import Callable
from pathlib import Path

from hh_fast.config import ServeConfig, default_cache_dir
from hh_fast.errors import UsageError
from hh_fast.serve import certificate, site
from hh_fast.serve.qr import qr_code
from hh_fast.serve.runtime import read_runtime
from hh_fast.serve.server import SiteServer

logger = logging.getLogger(__name__)

LOCALHOST, EVERYWHERE = "127.0.0.1", ("0.0.0.0", "::")


def _is_loopback(host: str) -> bool:
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"


def _context(cert: Path, key: Path | None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    for path in (cert, key or cert):
        path.open("rb").close()  # raises an error with the file name, unlike load_cert_chain
    try:
        context.load_cert_chain(cert, key)
    except ssl.SSLError as e:
        raise UsageError(
            f"`cert` and `key` must be PEM files that belong together ({e}). Received: {cert}, {key}"
        ) from e
    return context


def _address(scheme: str, host: str, port: int) -> str:
    name = "localhost" if host == LOCALHOST else f"[{host}]" if ":" in host else host
    return f"{scheme}://{name}:{port}/"


def _for_phones(config: ServeConfig, cert: Path | None, scheme: str, port: int) -> str:
    """The text with the address for other devices."""
    if cert is not None:
        host: str | None = certificate.names_in(cert)[0].replace("*.", "www.")
    else:
        host = certificate.lan_address() if config.host in EVERYWHERE else config.host
    if host is None:
        return "No phone can reach this machine: it is not in a network."
    if scheme == "http":
        what = "photos; for the live camera leave out --https=off"
    elif cert is None:
        what = "camera; the browser warns once of the self-signed certificate: continue"
    else:
        what = "camera, offline, install"
    address = _address(scheme, host, port)
    line = f"On a phone nearby: {address}  ({what})"
    return f"{line}\n\n{qr_code(address)}\n" if config.qr else line


def serve(config: ServeConfig, say: Callable[[str], None]) -> None:
    """Writes the site that `config` asks for, or serves it until interrupted.

    Args:
        config: The settings of bin/serve.
        say: Prints the addresses.

    Raises:
        DataError, UsageError: as `read_bundle`, `read_runtime`, `write` and `SiteServer`; or an invalid certificate.
        OSError: a file cannot be read or written.
    """
    cache_dir = Path(default_cache_dir()) / "serve"
    bundle = site.read_bundle(Path(str(config.export_dir)).expanduser())
    runtime = read_runtime(Path(config.runtime_dir).expanduser() if config.runtime_dir else None, cache_dir)
    files = site.build(bundle, runtime)
    size = f"{sum(map(len, files.values())) / 1e6:.1f} MB"
    if config.site_dir is not None:
        site.write(files, Path(config.site_dir).expanduser())
        logger.info("Wrote the page, %s, to %s: upload that folder to any https host", size, config.site_dir)
        return
    cert, key = (Path(path).expanduser() if path else None for path in (config.cert, config.key))
    is_local = _is_loopback(config.host) and cert is None
    context = None
    if config.https == "auto" and not is_local:
        context = _context(cert or certificate.own_certificate(cache_dir), key)
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(SiteServer(config.host, config.port, files, context))
        local_host, local_port = LOCALHOST if config.host in EVERYWHERE else config.host, server.port
        if context is not None:  # browsers treat http://localhost as secure
            local = stack.enter_context(SiteServer(LOCALHOST, config.http_port, files))
            stack.enter_context(local.running())
            local_host, local_port = LOCALHOST, local.port
        lines = []
        if _is_loopback(local_host):
            lines.append(f"On this machine:   {_address('http', local_host, local_port)}  (camera, offline, install)")
        if not is_local:
            lines.append(_for_phones(config, cert, "https" if context else "http", server.port))
        logger.info("Serving %s, %s, until Ctrl-C", config.export_dir, size)
        say("\n".join(lines))
        server.serve_forever(poll_interval=0.2)
