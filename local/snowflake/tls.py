"""The local certificate authority and the server certificate that it signs.

The Snowflake connector offers no way around certificate checks (`insecure_mode` only turns off OCSP), so the local
server gets a certificate that verifies: clients trust `trust/bundle.pem`, the public roots plus the local authority.
`trust` is all that a client in another container is given; the server's key stays in `tls`.
"""

import datetime
import ipaddress
import os
from dataclasses import dataclass
from pathlib import Path

import certifi
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

VALID_DAYS = 3650
# The second is the stack's name for the other services of docker-compose.yaml.
NAMES = ("localhost", "stack")
ADDRESS = "127.0.0.1"


@dataclass(frozen=True)
class Certificates:
    """Where the PEM files of one state directory are."""

    authority: Path
    certificate: Path
    key: Path
    bundle: Path


def certificates(state: Path) -> Certificates:
    """Return the certificates of `state`, creating them once.

    The authority's key is thrown away after it signed the server's certificate: nobody can use an authority that a
    developer's tools trust to impersonate another site.

    Args:
        state: The local stack's state directory.

    Returns:
        The files under `state`/tls, and the bundle under `state`/trust.
    """
    tls, trust = state / "tls", state / "trust"
    files = Certificates(tls / "ca.pem", tls / "server.pem", tls / "server.key", trust / "bundle.pem")
    for folder in (tls, trust):
        folder.mkdir(parents=True, exist_ok=True)
    if not all(path.exists() for path in (files.authority, files.certificate, files.key)):
        _create(files)
    bundle = Path(certifi.where()).read_text() + "\n" + files.authority.read_text()
    if not files.bundle.exists() or files.bundle.read_text() != bundle:
        _write(files.bundle, bundle.encode(), 0o644)
    return files


def _create(files: Certificates) -> None:
    authority_key = ec.generate_private_key(ec.SECP256R1())
    server_key = ec.generate_private_key(ec.SECP256R1())
    authority_name = _name("Vitrine local authority")
    authority = (
        _builder(authority_name, authority_name, authority_key)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .sign(authority_key, hashes.SHA256())
    )
    alternatives: list[x509.GeneralName] = [
        *(x509.DNSName(name) for name in NAMES),
        x509.IPAddress(ipaddress.ip_address(ADDRESS)),
    ]
    certificate = (
        _builder(_name("Vitrine local Snowflake"), authority_name, server_key)
        .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()), critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    key = server_key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    _write(files.key, key, 0o600)
    _write(files.certificate, certificate.public_bytes(serialization.Encoding.PEM), 0o644)
    _write(files.authority, authority.public_bytes(serialization.Encoding.PEM), 0o644)


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _builder(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        # An hour back: a laptop's clock may be set back a little after the first start.
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=VALID_DAYS))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _write(path: Path, content: bytes, mode: int) -> None:
    """Write whole files only: two tools may start in the same moment."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
    temporary.replace(path)
