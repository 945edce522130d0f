"""Certificates for loopback, good ones and each kind of bad one, as contexts that are ready to use."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime

import trustme

__all__ = ["Certificates"]

LOOPBACK_NAMES = ("localhost", "127.0.0.1")
LONG_AGO = datetime(2001, 1, 1, tzinfo=UTC)


class Certificates:
    """A certificate authority of its own, with a server-side context for each thing a certificate can be.

    Attributes:
        good: for localhost and 127.0.0.1, from an authority that `client` trusts.
        wrong_host: from that authority, for another name.
        expired: from that authority, for loopback, long ago.
        untrusted: for loopback, from an authority that nobody knows.
        self_signed: signed by nobody but itself.
        client: a client's context that checks names and trusts this authority alone.
    """

    def __init__(self) -> None:
        authority, stranger = trustme.CA(), trustme.CA()
        self.good = _serving(authority.issue_cert(*LOOPBACK_NAMES))
        self.wrong_host = _serving(authority.issue_cert("elsewhere.example"))
        self.expired = _serving(authority.issue_cert(*LOOPBACK_NAMES, not_after=LONG_AGO))
        self.untrusted = _serving(stranger.issue_cert(*LOOPBACK_NAMES))
        self.self_signed = _serving_alone(stranger)
        self.client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        authority.configure_trust(self.client)


def _serving(certificate: trustme.LeafCert) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    return context


def _serving_alone(authority: trustme.CA) -> ssl.SSLContext:
    # An authority's own certificate is what self-signed means.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with trustme.Blob(authority.private_key_pem.bytes() + authority.cert_pem.bytes()).tempfile() as path:
        context.load_cert_chain(path)
    return context
