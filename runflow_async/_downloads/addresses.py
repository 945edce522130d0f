"""Which addresses a URL that a server wrote may lead to. Pure.

A file may be on a public host, or in a network as near to us as the API itself: on loopback only if the API is.
"""

from __future__ import annotations

import re
from enum import IntEnum
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from yarl import URL

from runflow_async._text import printable

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Addresses", "UnsafeAddressError", "shown_url"]

LONGEST_URL = 16_384
LONGEST_SHOWN = 2_000
GLOBAL_UNICAST = IPv6Network("2000::/3")
"""All that is public of IPv6 (RFC 4291). Python also calls global what is reserved or withdrawn: `::10.0.0.1`."""
NAT64 = IPv6Network("64:ff9b::/96")
"""The IPv4 internet, for a network that has only IPv6 (RFC 6052)."""

_visible_ascii = re.compile(r"[\x21-\x7e]+")
_number_at_end = re.compile(r"(.*\.)?(\d+|0x[0-9a-f]*)\.?", re.ASCII | re.IGNORECASE)


class UnsafeAddressError(OSError):
    """A URL that is not requested. Its message does not contain the URL.

    An OSError, because aiohttp passes those of a resolver on.
    """


class Reach(IntEnum):
    """How near an address is."""

    PUBLIC = 0
    PRIVATE = 1
    LOOPBACK = 2


def shown_url(url: str) -> str:
    """Return a URL without what may be secret in it: user, password, query and fragment."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "a malformed URL"
    if not parts.netloc:
        return printable(f"{parts.scheme}:...", 40)
    return printable(f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}", LONGEST_SHOWN)


class Addresses:
    """The addresses from which files may be downloaded.

    Args:
        base_url: of the API.
    """

    def __init__(self, base_url: str) -> None:
        self._nearest = _reach_of_host(urlsplit(base_url).hostname or "")

    def parse(self, text: str, came_from: str | None = None) -> URL:
        """Return a URL that may be requested.

        Args:
            text: the URL, absolute, or relative to `came_from`.
            came_from: the URL that redirects to it.

        Raises:
            UnsafeAddressError: if it may not, and why.
        """
        if len(text) > LONGEST_URL:
            raise UnsafeAddressError(f"the URL has more than {LONGEST_URL} characters")
        try:
            # A signature covers the URL as it stands, so it is sent so.
            url = URL(text, encoded=_visible_ascii.fullmatch(text) is not None)
            source = None if came_from is None else URL(came_from, encoded=True)
            url = url if source is None else source.join(url)
            scheme, host, _ = url.scheme, url.host, url.port
        except ValueError:
            raise UnsafeAddressError("the URL is malformed") from None
        if scheme not in ("https", "http") or not host:
            raise UnsafeAddressError("the URL is not one of https")
        if url.raw_user is not None or url.raw_password is not None:
            raise UnsafeAddressError("the URL contains a user or password")
        if not _is_clear(host):
            raise UnsafeAddressError("the URL's host is neither a name nor an IP address in its usual form")
        reach = _reach_of_host(host)
        if scheme == "http" and reach is not Reach.LOOPBACK:
            raise UnsafeAddressError("the URL is one of plain http, which anybody on the way can read and change")
        if scheme == "http" and source is not None and source.scheme == "https":
            raise UnsafeAddressError("an https URL redirects to plain http")
        if reach > self._nearest:
            raise UnsafeAddressError(_too_near(host))
        return url.with_fragment(None)

    def choose(self, host: str, found: Iterable[str]) -> frozenset[str]:
        """Return those of a host's IP addresses that may be connected to.

        Raises:
            UnsafeAddressError: if there is none.
        """
        allowed = frozenset(address for address in found if _reach_of_address(address) <= self._nearest)
        if not allowed:
            raise UnsafeAddressError(_too_near(host))
        return allowed


def _too_near(host: str) -> str:
    return f"{printable(host, 100)} is in a private network or on this machine, and the API is not"


def _is_clear(host: str) -> bool:
    """Whether a host is a name or an IP address, and not one of the forms that only the operating system understands.

    `127.1`, `0177.0.0.1` and `2130706433` are all 127.0.0.1 to it, and aiohttp asks no resolver about a number.
    """
    try:
        ip_address(host)
    except ValueError:
        return ":" not in host and _number_at_end.fullmatch(host) is None
    return True


def _reach_of_host(host: str) -> Reach:
    """The reach that a host's text shows. What a name stands for is known once it is resolved."""
    name = host.rstrip(".").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return Reach.LOOPBACK
    try:
        ip_address(host)
    except ValueError:
        return Reach.PUBLIC
    return _reach_of_address(host)


def _reach_of_address(text: str) -> Reach:
    address = ip_address(text)
    if isinstance(address, IPv6Address):
        address = address.ipv4_mapped or address
    if address.is_loopback or address.is_unspecified:
        return Reach.LOOPBACK
    return Reach.PUBLIC if _is_public(address) else Reach.PRIVATE


def _is_public(address: IPv4Address | IPv6Address) -> bool:
    if isinstance(address, IPv6Address):
        translated = IPv4Address(int(address) & 0xFFFF_FFFF) if address in NAT64 else address.sixtofour
        if translated is not None:
            return _is_public(translated)
        if address not in GLOBAL_UNICAST:
            return False
    return address.is_global and not address.is_multicast
