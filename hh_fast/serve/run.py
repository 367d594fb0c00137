"""bin/serve: from a bundle to a static site, or to a running server and the address that a phone scans."""

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


def _is_loopback(host: str) -> bool:
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"


def _context(config: ServeConfig, cache_dir: Path) -> ssl.SSLContext | None:
    if config.https == "off" or (config.cert is None and _is_loopback(config.host)):
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    path = Path(config.cert) if config.cert else certificate.own_certificate(cache_dir)
    try:
        context.load_cert_chain(path, config.key)
    except ssl.SSLError as e:
        raise UsageError(
            f"`cert` and `key` must be PEM files that belong together ({e}). Received: {path}, {config.key}"
        ) from e
    return context


def _phone_host(config: ServeConfig) -> str | None:
    """The name or address for other devices; None where there is none."""
    if config.cert is not None:
        return certificate.names_in(Path(config.cert))[0].replace("*.", "www.")
    if config.host != "0.0.0.0":
        return None if _is_loopback(config.host) else config.host
    return certificate.lan_address()


def _addresses(config: ServeConfig, server: SiteServer) -> str:
    lines = []
    if config.host == "0.0.0.0" or _is_loopback(config.host):
        lines.append(f"On this machine:   http://localhost:{server.port}/  (camera, offline, install)")
    host = _phone_host(config)
    if host is not None:
        scheme = "http" if server.context is None else "https"
        address = f"{scheme}://{host}:{server.port}/"
        if server.context is None:
            what = "photos; for the live camera leave --https=off out"
        elif config.cert is None:
            what = "camera; the browser warns once of this machine's own certificate: go on"
        else:
            what = "camera, offline, install"
        lines.append(f"On a phone nearby: {address}  ({what})")
        if config.qr:
            lines.append(f"\n{qr_code(address)}\n")
    elif config.host == "0.0.0.0":
        lines.append("No phone reaches this machine: it is in no network.")
    return "\n".join(lines)


def serve(config: ServeConfig, say: Callable[[str], None]) -> None:
    """Writes the site that `config` asks for, or hands it out until interrupted.

    Args:
        config: Which bundle, and where to.
        say: Shows a person the addresses.

    Raises:
        DataError, UsageError: as `read_bundle`, `read_runtime`, `write` and `SiteServer` say; a certificate that does not load.
        OSError: a file cannot be read or written.
    """
    cache_dir = Path(default_cache_dir()) / "serve"
    bundle = site.read_bundle(Path(str(config.export_dir)).expanduser())
    runtime = read_runtime(Path(config.runtime_dir).expanduser() if config.runtime_dir else None, cache_dir)
    files = site.build(bundle, runtime)
    size = f"{sum(map(len, files.values())) / 1e6:.1f} MB"
    if config.site_dir is not None:
        site.write(files, Path(config.site_dir).expanduser())
        logger.info("Wrote the page, %s, to %s: hand that folder out by any https host", size, config.site_dir)
        return
    with SiteServer((config.host, config.port), files, _context(config, cache_dir)) as server:
        logger.info("Serving %s, %s, until Ctrl-C", config.export_dir, size)
        say(_addresses(config, server))
        server.serve_forever(poll_interval=0.2)
