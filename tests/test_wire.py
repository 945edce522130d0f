"""What each exception of aiohttp means: pure, without a socket."""

from __future__ import annotations

import socket
import ssl
from types import SimpleNamespace
from typing import NamedTuple

import aiohttp
import pytest
from aiohttp import client_exceptions, http_exceptions
from yarl import URL

from runflow_async import CertificateError, ConfigurationError, MalformedResponseError, RunflowError, TransportError
from runflow_async._http.wire import DroppedConnectionError, translate, was_connecting
from runflow_async._verdict import Verdict

URL_ASKED = URL("https://api.example:8443/v1/batches")
PLACE = "api.example:8443"
FOREIGN = "text of the library\x1b[31m"
"""Shown escaped, if at all."""
REFUSED = OSError(111, FOREIGN)
KEY = SimpleNamespace(host="api.example", port=8443, is_ssl=True, ssl=True)
REQUEST = SimpleNamespace(real_url=URL_ASKED)


class Meaning(NamedTuple):
    """What becomes of an exception.

    Attributes:
        error: the type of ours.
        verdict: whether to try again.
        says: a part of the message.
    """

    error: type[RunflowError]
    verdict: Verdict
    says: str


CLOSED = Meaning(TransportError, Verdict.TRANSIENT, f"{PLACE} closed the connection before the answer was complete")
LATE = Meaning(TransportError, Verdict.TRANSIENT, f"{PLACE} did not answer in time")
UNREACHABLE = Meaning(TransportError, Verdict.TRANSIENT, f"cannot connect to {PLACE}")
NO_PROXY = Meaning(TransportError, Verdict.TRANSIENT, f"cannot connect to the proxy for {PLACE}")
REFUSED_BY_PROXY = Meaning(TransportError, Verdict.FINAL, f"the proxy refused to connect to {PLACE}")
UNPROVEN = Meaning(CertificateError, Verdict.FINAL, f"{PLACE} could not prove its identity")
UNSENDABLE = Meaning(ConfigurationError, Verdict.FINAL, f"aiohttp cannot make a request for {PLACE}")
NOT_HTTP = Meaning(TransportError, Verdict.SUSPECT, f"{PLACE} sent an answer that is not HTTP")
OTHER_PROTOCOL = Meaning(TransportError, Verdict.TRANSIENT, f"{PLACE} does not speak HTTP/1.1")
UNDECODABLE = Meaning(MalformedResponseError, Verdict.SUSPECT, "does not match its Content-Encoding")

CLIENT = {
    "ClientConnectionError": CLOSED,
    "ClientConnectionResetError": CLOSED,
    "ClientConnectorCertificateError": UNPROVEN,
    "ClientConnectorDNSError": UNREACHABLE,
    "ClientConnectorError": UNREACHABLE,
    "ClientConnectorSSLError": UNREACHABLE,
    "ClientError": NOT_HTTP,
    "ClientHttpProxyError": REFUSED_BY_PROXY,
    "ClientOSError": CLOSED,
    "ClientPayloadError": CLOSED,
    "ClientProxyConnectionError": NO_PROXY,
    "ClientResponseError": NOT_HTTP,
    "ClientSSLError": UNREACHABLE,
    "ConnectionTimeoutError": LATE,
    "InvalidURL": UNSENDABLE,
    "InvalidUrlClientError": UNSENDABLE,
    "NonHttpUrlClientError": UNSENDABLE,
    "ServerConnectionError": CLOSED,
    "ServerDisconnectedError": CLOSED,
    "ServerFingerprintMismatch": UNPROVEN,
    "ServerTimeoutError": LATE,
    "SocketTimeoutError": LATE,
    "UnixClientConnectorError": UNREACHABLE,
}
NEVER_RAISED = {
    "ContentTypeError": "bodies are decoded by us",
    "InvalidUrlRedirectClientError": "redirects are not followed",
    "NonHttpUrlRedirectClientError": "redirects are not followed",
    "RedirectClientError": "redirects are not followed",
    "TooManyRedirects": "redirects are not followed",
    "UploadAbortedError": "a GET has no body",
    "WSMessageTypeError": "no websockets are used",
    "WSServerHandshakeError": "no websockets are used",
}
"""Why these cannot come out of our requests."""
HEAD = {
    "BadHttpMessage": NOT_HTTP,
    "BadHttpMethod": OTHER_PROTOCOL,
    "BadStatusLine": OTHER_PROTOCOL,
    "ContentEncodingError": UNDECODABLE,
    "ContentLengthError": NOT_HTTP,
    "DecompressSizeError": NOT_HTTP,
    "HttpBadRequest": NOT_HTTP,
    "HttpProcessingError": NOT_HTTP,
    "InvalidHeader": NOT_HTTP,
    "InvalidURLError": NOT_HTTP,
    "LineTooLong": NOT_HTTP,
    "PayloadEncodingError": NOT_HTTP,
    "TransferEncodingError": NOT_HTTP,
}
"""By what the parser found wrong with the head of an answer."""


def exceptions_of(module) -> dict[str, type[Exception]]:
    kinds = [kind for kind in vars(module).values() if isinstance(kind, type) and issubclass(kind, Exception)]
    return {kind.__name__: kind for kind in kinds if kind.__module__ == module.__name__}


CLIENT_KINDS = exceptions_of(client_exceptions)
PARSER_KINDS = exceptions_of(http_exceptions)


def example_of(kind: type[Exception]) -> Exception:
    """An instance of a class of aiohttp's client, as aiohttp makes them."""
    match kind:
        case client_exceptions.ClientConnectorCertificateError:
            return kind(KEY, ssl.CertificateError(1, FOREIGN))
        case client_exceptions.UnixClientConnectorError:
            return kind("/run/api.sock", KEY, REFUSED)
        case client_exceptions.ServerFingerprintMismatch:
            return kind(b"expected", b"got", "api.example", 8443)
    if issubclass(kind, aiohttp.ClientConnectorError):
        return kind(KEY, REFUSED)
    if issubclass(kind, aiohttp.ClientResponseError):
        return kind(REQUEST, (), status=400, message=FOREIGN)
    if issubclass(kind, aiohttp.ClientOSError):
        return kind(104, FOREIGN)
    return kind(FOREIGN)


def parser_error(name: str) -> Exception:
    kind = PARSER_KINDS[name]
    return kind(message=FOREIGN) if kind is http_exceptions.HttpProcessingError else kind(FOREIGN)


def caused_by(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


def check(error: Exception, meaning: Meaning) -> None:
    ours = translate(error, URL_ASKED)
    assert (type(ours), ours.verdict) == (meaning.error, meaning.verdict)
    assert meaning.says in str(ours)
    assert str(ours).isprintable()


def test_every_class_of_aiohttp_has_a_meaning():
    """A new one fails here until somebody has decided what it means."""
    assert CLIENT_KINDS.keys() - CLIENT.keys() - NEVER_RAISED.keys() == set()
    assert set(client_exceptions.__all__) <= CLIENT_KINDS.keys()
    assert PARSER_KINDS.keys() - HEAD.keys() == set()


@pytest.mark.parametrize("name", sorted(CLIENT.keys() & CLIENT_KINDS.keys()))
def test_an_error_of_the_client_means(name):
    check(example_of(CLIENT_KINDS[name]), CLIENT[name])


@pytest.mark.parametrize("name", sorted(NEVER_RAISED.keys() & CLIENT_KINDS.keys()))
def test_what_is_never_raised_would_be_an_error_of_ours_all_the_same(name):
    assert isinstance(translate(example_of(CLIENT_KINDS[name]), URL_ASKED), RunflowError)


@pytest.mark.parametrize("name", sorted(HEAD.keys() & PARSER_KINDS.keys()))
def test_a_head_that_the_parser_refuses_means(name):
    """aiohttp raises a status 400 that no server sent, with the parser's error as its cause."""
    check(caused_by(example_of(aiohttp.ClientResponseError), parser_error(name)), HEAD[name])


@pytest.mark.parametrize("name", sorted(HEAD.keys() & PARSER_KINDS.keys()))
def test_a_body_that_the_parser_refuses_means_that_it_was_cut_short_unless_it_cannot_be_decompressed(name):
    meaning = UNDECODABLE if name == "ContentEncodingError" else CLOSED
    check(caused_by(aiohttp.ClientPayloadError(FOREIGN), parser_error(name)), meaning)


@pytest.mark.parametrize(
    ("error", "meaning"),
    [
        (ConnectionResetError(104, FOREIGN), CLOSED),
        (DroppedConnectionError(reused=True), CLOSED),
        (OSError(FOREIGN), CLOSED),
        (TimeoutError(FOREIGN), LATE),
        (UnicodeError(FOREIGN), UNSENDABLE),
        (ValueError(FOREIGN), UNSENDABLE),
        (socket.gaierror(-2, FOREIGN), CLOSED),
        (ssl.CertificateError(1, FOREIGN), UNPROVEN),
        (ssl.SSLError(1, FOREIGN), CLOSED),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_an_error_of_python_means(error, meaning):
    check(error, meaning)


def test_a_cause_counts_however_deep_and_also_as_a_context():
    error = example_of(aiohttp.ClientResponseError)
    error.__context__ = caused_by(RuntimeError(), parser_error("BadStatusLine"))
    check(error, OTHER_PROTOCOL)


def test_a_timeout_of_anybody_else_is_none_of_connecting():
    with pytest.raises(TimeoutError) as caught:
        raise TimeoutError
    assert not was_connecting(caught.value)
