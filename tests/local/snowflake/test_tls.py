import socket
import ssl
import stat
import threading

import pytest

from local.snowflake.tls import certificates


def test_certificates_are_made_once(tmp_path):
    first = certificates(tmp_path)
    content = [path.read_bytes() for path in (first.authority, first.certificate, first.key, first.bundle)]
    second = certificates(tmp_path)
    assert [path.read_bytes() for path in (second.authority, second.certificate, second.key, second.bundle)] == content


def test_only_the_owner_reads_the_key_and_the_authoritys_key_is_not_kept(tmp_path):
    files = certificates(tmp_path)
    assert stat.S_IMODE(files.key.stat().st_mode) == 0o600
    assert [path for path in tmp_path.rglob("*.*") if b"PRIVATE KEY" in path.read_bytes()] == [files.key]


def test_the_folder_that_clients_are_given_holds_the_bundle_alone(tmp_path):
    files = certificates(tmp_path)
    assert list((tmp_path / "trust").iterdir()) == [files.bundle]


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "stack"])
def test_a_client_with_the_bundle_verifies_the_server(tmp_path, host):
    files = certificates(tmp_path)
    with _handshake(files, ssl.create_default_context(cafile=str(files.bundle)), host) as connected:
        assert connected.version() in {"TLSv1.2", "TLSv1.3"}


@pytest.mark.parametrize(("host", "trusted"), [("example.com", True), ("localhost", False)])
def test_another_name_or_an_unknown_authority_is_refused(tmp_path, host, trusted):
    files = certificates(tmp_path)
    other = certificates(tmp_path / "other")
    context = ssl.create_default_context(cafile=str(files.bundle if trusted else other.bundle))
    with pytest.raises(ssl.SSLCertVerificationError):
        _handshake(files, context, host)


def _handshake(files, context, host):
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(files.certificate, files.key)
    ours, theirs = socket.socketpair()

    def answer():
        try:
            server.wrap_socket(theirs, server_side=True).close()
        except OSError:
            theirs.close()

    thread = threading.Thread(target=answer)
    thread.start()
    try:
        return context.wrap_socket(ours, server_hostname=host)
    finally:
        thread.join()
