"""A self-signed certificate for this machine's addresses, which is kept, so that a phone asks only once."""

import datetime
import ipaddress
import logging
import socket
from collections.abc import Sequence
from pathlib import Path

import psutil
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from hh_fast.errors import DataError
from hh_fast.io.files import atomic_path

logger = logging.getLogger(__name__)

LIFETIME = datetime.timedelta(days=397)  # the maximum that browsers accept
RENEW_BEFORE = datetime.timedelta(days=7)


def lan_address() -> str | None:
    """The address at which other devices in the network can most likely reach this machine; sends nothing."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # a documentation address: selects the default route
            return str(probe.getsockname()[0])
        except OSError:
            return next((name for name in own_names() if _is_address(name) and not name.startswith("127.")), None)


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def own_names() -> list[str]:
    """This machine's host name and IPv4 addresses."""
    addresses = {
        entry.address
        for entries in psutil.net_if_addrs().values()
        for entry in entries
        if entry.family == socket.AF_INET
    }
    return ["localhost", socket.gethostname(), *sorted(addresses | {"127.0.0.1"})]


def names_in(path: Path) -> list[str]:
    """The names and addresses in a certificate.

    Raises:
        DataError: it is not a PEM certificate.
        OSError: it cannot be read.
    """
    try:
        names = x509.load_pem_x509_certificate(path.read_bytes()).extensions.get_extension_for_class(
            x509.SubjectAlternativeName
        )
    except (ValueError, x509.ExtensionNotFound) as e:
        raise DataError(f"`cert` must be a PEM certificate that names its hosts ({e}). Received: {path}") from e
    return [str(name.value) for name in names.value]


def _is_current(path: Path, names: Sequence[str]) -> bool:
    try:
        end = x509.load_pem_x509_certificate(path.read_bytes()).not_valid_after_utc
        return set(names) <= set(names_in(path)) and end - RENEW_BEFORE > datetime.datetime.now(datetime.timezone.utc)
    except (OSError, ValueError, DataError):
        return False


def _make(names: Sequence[str]) -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.datetime.now(datetime.timezone.utc)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "hh_fast on this machine")])
    alternatives = [x509.IPAddress(ipaddress.ip_address(n)) if _is_address(n) else x509.DNSName(n) for n in names]
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now, now + LIFETIME)
        .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return private + certificate.public_bytes(serialization.Encoding.PEM)


def own_certificate(cache_dir: Path) -> Path:
    """A PEM file, readable by its owner only, with a key and a certificate for all current addresses of this machine.

    It is renewed only if it expires within a week or lacks an address.
    """
    path = cache_dir / "certificate.pem"
    names = own_names()
    if not _is_current(path, names):
        logger.info("Made a certificate for %s", ", ".join(names))
        with atomic_path(path) as temporary:
            temporary.touch(mode=0o600)
            temporary.write_bytes(_make(names))
    path.chmod(0o600)
    return path
