"""TLS with Redis: which certificates are trusted and shown, and what is wrong with one.

redis-py would trust the authorities of the machine besides the one that is named; here the named one is the only one.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from typing import Any

from redis.connection import Connection

from .errors import RedisAway, SetupError


class Untrusted(RedisAway):
    """No connection, because of certificates. ``detail`` says what to do."""


@dataclass(frozen=True)
class Files:
    """Certificates as files in PEM, read whenever a connection is made."""

    ca: str | None = None
    """Whose signature the certificate of Redis must bear; none: an authority this machine knows."""
    cert: str | None = None
    """What Redis is shown if it asks who connects."""
    key: str | None = None
    """The private key of ``cert``."""

    def check(self) -> None:
        """Raises :class:`SetupError` if a file cannot be used."""
        if (self.cert is None) != (self.key is None):
            raise SetupError("TEMPEST_REDIS_CERT_FILE and TEMPEST_REDIS_KEY_FILE go together: one of them is missing")
        for name, file in (("CA", self.ca), ("CERT", self.cert), ("KEY", self.key)):
            try:
                if file is not None:
                    open(file, "rb").close()
            except OSError as error:
                raise SetupError(f"TEMPEST_REDIS_{name}_FILE: {file} cannot be read: {error.strerror}") from None
        try:
            self.context()
        except (ssl.SSLError, OSError) as error:
            raise SetupError(
                f"the certificates for Redis are not understood ({error}): TEMPEST_REDIS_CA_FILE, "
                "TEMPEST_REDIS_CERT_FILE and TEMPEST_REDIS_KEY_FILE name files in PEM"
            ) from None

    def context(self) -> ssl.SSLContext:
        """What a connection is made with. Raises :class:`ssl.SSLError` or :class:`OSError`."""
        context = ssl.create_default_context(cafile=self.ca)
        if self.cert is not None:
            context.load_cert_chain(self.cert, self.key)
        return context


class TlsConnection(Connection):
    """A connection of redis-py in TLS. Raises :class:`Untrusted` when it connects."""

    def __init__(self, files: Files, **options: Any) -> None:
        super().__init__(**options)  # type: ignore[no-untyped-call]
        self._files = files

    def _connect(self) -> Any:
        sock = super()._connect()  # type: ignore[no-untyped-call]
        try:
            return self._files.context().wrap_socket(sock, server_hostname=self.host)
        except ssl.SSLError as error:
            sock.close()
            raise Untrusted(told(error)) from None
        except OSError:
            sock.close()
            raise


_UNKNOWN_ISSUER = (18, 19, 20, 21)  # X509_V_ERR_…, the last word on a chain that ends nowhere
_EXPIRED, _NOT_YET = 10, 9
_OTHER_NAME, _OTHER_ADDRESS = 62, 64


def told(error: ssl.SSLError) -> str:
    """What is wrong with the certificates, and what to do about it, in one line."""
    if not isinstance(error, ssl.SSLCertVerificationError):
        return _broken(error)
    found, why = error.verify_code, error.verify_message
    if found in _UNKNOWN_ISSUER:
        return "its certificate is signed by an authority that is not known here; name that with TEMPEST_REDIS_CA_FILE"
    if found in (_OTHER_NAME, _OTHER_ADDRESS):
        return f"its certificate is for another name ({why.rstrip('.')}); use a name it is for in the URL"
    if found == _EXPIRED:
        return "its certificate has expired; give Redis a new one (tls-cert-file)"
    if found == _NOT_YET:
        return "its certificate is not valid yet; look at the clocks of both machines"
    return f"its certificate is not good ({why})"


_NO_TLS = ("WRONG_VERSION_NUMBER", "PACKET_LENGTH_TOO_LONG", "RECORD_LAYER_FAILURE")


def _broken(error: ssl.SSLError) -> str:
    reason = error.reason or str(error)
    if reason in _NO_TLS:
        return f"what answers there speaks no TLS ({reason}); a URL without TLS begins with redis://"
    if "CERTIFICATE_REQUIRED" in reason:
        return "it wants to see a certificate; name one with TEMPEST_REDIS_CERT_FILE and TEMPEST_REDIS_KEY_FILE"
    return f"TLS fails ({reason})"
