"""Which URLs of a server are requested: https, and nothing nearer than the API itself. Row 166."""

from __future__ import annotations

import aiohttp
import pytest

from runflow_async._downloads.addresses import Addresses, UnsafeAddressError, shown_url
from runflow_async._downloads.exchange import _Resolver

FAR = Addresses("https://api.runflow.io")
PRIVATE = Addresses("https://10.1.2.3:8443/api")
HERE = Addresses("http://127.0.0.1:8080")


@pytest.mark.parametrize(
    "url",
    [
        "https://files.example/a.png?X=%2f+a%20b",
        "https://files.example:8443/a",
        "HTTPS://FILES.example/a",
        "https://8.8.8.8/a",
        "https://[2606:4700:4700::1111]/a",
        "https://[64:ff9b::808:808]/a",
    ],
)
@pytest.mark.parametrize("addresses", [FAR, PRIVATE, HERE])
def test_public_https_is_requested_wherever_the_api_is(addresses, url):
    assert str(addresses.parse(url)).lower() == url.lower()


def test_a_url_is_sent_as_it_was_signed():
    url = "https://files.example/a%2fb%2Fc;x?sig=a+b%20c%2F/=&&z"
    assert str(FAR.parse(f"{url}#fragment")) == url


LOOPBACK = [
    "https://127.0.0.1/a",
    "https://127.9.9.9/a",
    "https://0.0.0.0/a",
    "https://[::1]/a",
    "https://[::]/a",
    "https://[::ffff:127.0.0.1]/a",
    "https://localhost/a",
    "https://LOCALHOST./a",
    "https://files.localhost/a",
]
NEAR = [
    "https://10.0.0.1/a",
    "https://172.16.0.1/a",
    "https://192.168.1.1/a",
    "https://169.254.169.254/latest/meta-data",
    "https://100.64.0.1/a",
    "https://224.0.0.1/a",
    "https://[fe80::1]/a",
    "https://[fe80::1%25eth0]/a",
    "https://[fd00::1]/a",
    "https://[::ffff:10.0.0.1]/a",
    "https://[::10.0.0.1]/a",
    "https://[::ffff:0:10.0.0.1]/a",
    "https://[fec0::1]/a",
    # Gateways translate these to 169.254.169.254, 127.0.0.1 and 10.0.0.1.
    "https://[64:ff9b::a9fe:a9fe]/latest/meta-data",
    "https://[64:ff9b::7f00:1]/a",
    "https://[64:ff9b:1::a00:1]/a",
    "https://[2002:a00:1::1]/a",
    "https://[2001:0:a00:1::1]/a",
]


@pytest.mark.parametrize("url", [*LOOPBACK, *NEAR])
def test_an_api_on_the_internet_does_not_lead_into_private_networks(url):
    with pytest.raises(UnsafeAddressError, match="is in a private network or on this machine, and the API is not"):
        FAR.parse(url)


@pytest.mark.parametrize(
    "host",
    ["127.1", "0177.0.0.1", "0x7f.0.0.1", "0x7f000001", "2130706433", "127.0.0.1.", "010.0.0.1", "127.0.1", "8.8.8.8."],
)
@pytest.mark.parametrize("addresses", [FAR, PRIVATE, HERE])
def test_an_ip_address_in_disguise_is_refused(addresses, host):
    """The operating system reads it as an address; whether aiohttp refuses it must not matter."""
    with pytest.raises(UnsafeAddressError, match="neither a name nor an IP address"):
        addresses.parse(f"https://{host}/a")


@pytest.mark.parametrize("host", ["1.example", "0x7f.example", "127.0.0.1.example", "files.example."])
def test_a_name_may_begin_with_a_number(host):
    assert FAR.parse(f"https://{host}/a").host == host


def test_loopback_is_for_an_api_on_loopback():
    for url in LOOPBACK:
        HERE.parse(url)
        with pytest.raises(UnsafeAddressError):
            PRIVATE.parse(url)
    for url in NEAR:
        PRIVATE.parse(url)


def test_plain_http_is_for_loopback():
    assert HERE.parse("http://127.0.0.1:9/a?b=c").port == 9
    for addresses in (FAR, PRIVATE, HERE):
        for url in ("http://files.example/a", "http://10.0.0.1/a"):
            with pytest.raises(UnsafeAddressError, match="plain http"):
                addresses.parse(url)


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "ftp://files.example/a",
        "data:image/png;base64,AAAA",
        "gopher://127.0.0.1/",
        "//files.example/a",
        "/a",
        "a.png",
        "",
        "https:///a",
        "https://user:password@files.example/a",
        "https://files.example\\@evil.example/a",
        "https://files.example:99999/a",
        "https://[::1/a",
        "https://files.example/" + "a" * 20_000,
    ],
)
def test_anything_else_is_refused_without_repeating_it(url):
    with pytest.raises(UnsafeAddressError) as caught:
        HERE.parse(url)
    assert url == "" or url not in str(caught.value)


@pytest.mark.parametrize(
    ("target", "leads_to"),
    [
        ("/b?sig=2", "https://files.example/b?sig=2"),
        ("c", "https://files.example/a/c"),
        ("https://other.example/d", "https://other.example/d"),
    ],
)
def test_a_redirect_is_relative_to_where_it_is(target, leads_to):
    assert str(HERE.parse(target, "https://files.example/a/b?sig=1")) == leads_to


def test_a_redirect_does_not_lead_from_https_down_to_http():
    assert HERE.parse("http://127.0.0.1/b", "http://127.0.0.1/a")
    with pytest.raises(UnsafeAddressError, match="redirects to plain http"):
        HERE.parse("http://127.0.0.1/b", "https://files.example/a")


async def test_a_name_is_judged_by_the_addresses_it_is_resolved_to():
    """The same that are connected to, so that a name cannot stand for another one a moment later."""
    with pytest.raises(UnsafeAddressError):
        await _Resolver(FAR).resolve("localhost", 443)
    assert await _Resolver(HERE).resolve("localhost", 443)


async def test_a_name_is_connected_to_at_its_public_addresses_alone(monkeypatch):
    async def resolve(*_: object) -> list[dict[str, object]]:
        return [{"host": host} for host in ("127.0.0.1", "8.8.8.8", "10.0.0.1")]

    monkeypatch.setattr(aiohttp.ThreadedResolver, "resolve", resolve)
    assert await _Resolver(FAR).resolve("files.example", 443) == [{"host": "8.8.8.8"}]


def test_of_several_addresses_only_those_that_may_be_are_connected_to():
    assert FAR.choose("h", ["10.0.0.1", "8.8.8.8", "::1"]) == {"8.8.8.8"}


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://h:1/a/b.png?sig=SECRET#SECRET", "https://h:1/a/b.png"),
        ("https://user:SECRET@h/a", "https://h/a"),
        ("data:image/png;base64,SECRET", "data:..."),
        ("https://[::1/SECRET", "a malformed URL"),
        ("https://h/a\x1b[31m\u202e", "https://h/a\\x1b[31m\\u202e"),
    ],
)
def test_of_a_url_only_what_is_no_secret_is_shown(url, shown):
    assert shown_url(url) == shown
