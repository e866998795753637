"""TLS with Redis: a worker and a client over rediss://, and what is said when certificates do not fit."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from conftest import Process, Server, free_port
from tempest import Client, SetupError
from tempest.link import Place
from tempest.tls import Files
from tempest.worker import ready


class Authority:
    """An authority, and a folder with its certificate and those it has signed."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self._folder = folder
        self.file = str(folder / "ca.pem")
        self._openssl("req", "-x509", *self._key("ca"), "-out", self.file, "-subj", "/CN=ours", "-days", "30")

    def sign(self, name: str, names: str, days: int = 30) -> tuple[str, str]:
        """A certificate for ``names`` (in the words of OpenSSL), and its key, as files."""
        cert, request, about = (self._folder / f"{name}.{ending}" for ending in ("pem", "csr", "ext"))
        about.write_text(f"subjectAltName={names}\n")
        self._openssl("req", "-new", *self._key(name), "-out", request, "-subj", f"/CN={name}")
        by = ("-CA", self.file, "-CAkey", self._folder / "ca.key", "-CAcreateserial")
        self._openssl("x509", "-req", "-in", request, *by, "-extfile", about, "-days", days, "-out", cert)
        return str(cert), str(self._folder / f"{name}.key")

    def _key(self, name: str) -> tuple[object, ...]:
        key = self._folder / f"{name}.key"
        return "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", key

    def _openssl(self, *arguments: object) -> None:
        subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True, cwd=self._folder)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "ours")


Secured = Callable[..., str]


@pytest.fixture
def secured(tmp_path: Path, authority: Authority) -> Iterator[Secured]:
    """Starts a Redis with a certificate for these names; gives its URL."""
    started: list[Server] = []

    def start(names: str = "DNS:localhost,IP:127.0.0.1", days: int = 30, asks: str = "no") -> str:
        (cert, key), port = authority.sign("redis", names, days), free_port()
        files = ("--tls-cert-file", cert, "--tls-key-file", key, "--tls-ca-cert-file", authority.file)
        started.append(Server(tmp_path, "--tls-port", str(port), *files, "--tls-auth-clients", asks))
        return f"rediss://127.0.0.1:{port}"

    yield start
    for server in started:
        server.kill()


def refusal(url: str, files: Files) -> str:
    """The one line an operator sees."""
    with pytest.raises(SetupError) as caught:
        ready(Place(url, files)).close()
    assert "\n" not in caught.value.detail
    return caught.value.detail


def test_a_worker_and_a_client_speak_tls(
    secured: Secured, authority: Authority, start: Callable[..., Process], monkeypatch: pytest.MonkeyPatch
) -> None:
    url = secured()
    monkeypatch.setenv("TEMPEST_REDIS_CA_FILE", authority.file)
    start(url)
    with Client(url=url) as client:
        assert client.call("default", "echo", [1, 2], timeout_s=20) == [1, 2]
        client.publish("news", "hello")


def test_a_certificate_of_ours_is_shown(secured: Secured, authority: Authority) -> None:
    url = secured(asks="yes")
    assert "CERT_FILE" in refusal(url, Files(ca=authority.file))
    ready(Place(url, Files(authority.file, *authority.sign("worker", "DNS:worker.test")))).close()


def test_an_authority_that_is_not_known_is_told(secured: Secured, tmp_path: Path) -> None:
    url = secured()
    for files in (Files(), Files(ca=Authority(tmp_path / "theirs").file)):
        line = refusal(url, files)
        assert "authority that is not known" in line
        assert "TEMPEST_REDIS_CA_FILE" in line


def test_a_certificate_of_another_name_is_told(secured: Secured, authority: Authority) -> None:
    url = secured("DNS:redis.test")
    for host in ("localhost", "127.0.0.1"):
        assert "for another name" in refusal(url.replace("127.0.0.1", host), Files(ca=authority.file))


def test_a_certificate_that_has_expired_is_told(secured: Secured, authority: Authority) -> None:
    assert "has expired" in refusal(secured(days=-1), Files(ca=authority.file))


def test_files_that_are_none_are_named(authority: Authority, tmp_path: Path) -> None:
    missing, empty = str(tmp_path / "missing.pem"), tmp_path / "empty.pem"
    empty.write_text("not a certificate")
    cert, _ = authority.sign("worker", "DNS:worker.test")
    for files, found in (
        (Files(ca=missing), "cannot be read"),
        (Files(ca=str(empty)), "not understood"),
        (Files(authority.file, cert), "go together"),
    ):
        with pytest.raises(SetupError) as caught:
            Place("rediss://127.0.0.1:1", files)
        assert found in caught.value.detail


def test_tls_at_a_port_without_is_told(server: Server, authority: Authority) -> None:
    line = refusal(server.url.replace("redis:", "rediss:"), Files(ca=authority.file))
    assert "Redis at rediss://" in line


def test_trusting_whoever_answers_is_refused() -> None:
    with pytest.raises(SetupError, match="#insecure is not served"):
        Place("rediss://127.0.0.1:6379/#insecure")
