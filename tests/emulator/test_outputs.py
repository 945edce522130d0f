"""What succeeded items have produced: the URLs, and the files behind them on the second port."""

from __future__ import annotations

import hashlib

import aiohttp
import pytest

ENDED = [(0.0, "succeeded")]


async def urls_of(client, batch_id):
    """The URLs of each item."""
    _, page = await client.get(f"{batch_id}/items")
    return [urls_in(item["output"]) for item in page["items"]]


def urls_in(output):
    return [file["url"] for file in output["outputs"]] if "outputs" in output else output["image_urls"]


@pytest.fixture
async def web():
    """A session without the key."""
    async with aiohttp.ClientSession() as session:
        yield session


@pytest.fixture
async def url(emulator, client):
    emulator.outputs.size = 1000
    ((url,),) = await urls_of(client, emulator.create_scripted_batch([ENDED]))
    return url


async def fetch(web, url, **headers):
    async with web.get(url, headers={name.replace("_", "-"): value for name, value in headers.items()}) as response:
        return response.status, response.headers, await response.read()


async def test_outputs_come_in_both_shapes(emulator, client, clock):
    batch_id = emulator.create_scripted_batch([ENDED, ENDED, [(0.0, "failed")], [(0.0, "running")]])
    _, page = await client.get(f"{batch_id}/items")
    first, second, *others = (item["output"] for item in page["items"])
    assert [set(file) for file in first["outputs"]] == [{"url", "type"}]
    assert (len(second["image_urls"]), others) == (2, [None, None])
    assert len({*urls_in(first), *urls_in(second)}) == 3
    assert all(url.startswith(f"{emulator.outputs.url}/outputs/") for url in urls_in(first) + urls_in(second))
    assert emulator.outputs.url != emulator.url


async def test_an_output_may_be_scripted(emulator, client):
    given = {"image_urls": ["https://example.invalid/../../etc/passwd"], "outputs": 7}
    batch_id = emulator.create_scripted_batch([ENDED, ENDED], outputs=[given, None])
    _, page = await client.get(f"{batch_id}/items")
    assert page["items"][0]["output"] == given
    assert "image_urls" in page["items"][1]["output"]


async def test_a_file_is_an_image_that_is_the_same_each_time(emulator, web, url):
    status, headers, content = await fetch(web, url)
    assert (status, headers["Content-Type"], headers["Accept-Ranges"]) == (200, "image/png", "bytes")
    assert content.startswith(b"\x89PNG")
    assert content == emulator.outputs.content_of(url) == (await fetch(web, url))[2]
    assert 1000 <= len(content) < 1200
    async with web.head(url) as response:
        assert (response.status, response.content_length) == (200, len(content))
    assert [request.status for request in emulator.outputs.requests] == [200] * 3
    assert all("/outputs/" not in request.path for request in emulator.requests)


async def test_every_file_differs_and_all_of_them_change_with_the_size(emulator, client):
    batch_id = emulator.create_scripted_batch([ENDED] * 4)
    urls = [url for item in await urls_of(client, batch_id) for url in item]
    digests = set()
    for emulator.outputs.size in (2000, 5000):
        digests |= {hashlib.sha256(emulator.outputs.content_of(url)).digest() for url in urls}
    assert len(digests) == 2 * len(urls)


async def test_a_url_expires_and_the_item_then_has_a_new_one(emulator, client, web, clock):
    emulator.outputs.lifetime = 60.0
    batch_id = emulator.create_scripted_batch([ENDED])
    ((url,),) = await urls_of(client, batch_id)
    clock.now += 59.9
    assert (await fetch(web, url))[0] == 200
    clock.now += 0.1
    assert (await fetch(web, url))[0] == 403
    ((fresh,),) = await urls_of(client, batch_id)
    assert fresh != url
    assert (await fetch(web, fresh))[0] == 200


async def test_an_altered_url_is_refused(web, url):
    path, _, query = url.partition("?")
    altered = [path, f"{path}0?{query}", url[:-1], url.replace("expires=", "expires=9"), f"{path}?expires=x&signature="]
    altered.append(url + "é")
    assert [(await fetch(web, wrong))[0] for wrong in altered] == [403] * len(altered)


async def test_a_request_with_a_key_is_refused(emulator, client, url):
    async with client.http.get(url) as response:
        assert response.status == 400
    assert "Authorization" in emulator.outputs.requests[0].headers


async def test_files_are_read_only(web, url):
    async with web.put(url, data=b"x") as response:
        assert (response.status, response.headers["Allow"]) == (405, "GET, HEAD")


@pytest.mark.parametrize(
    ("wanted", "part"),
    [
        ("bytes=0-", slice(0, None)),
        ("bytes=0-0", slice(0, 1)),
        ("bytes=10-19", slice(10, 20)),
        ("bytes=700-", slice(700, None)),
        ("bytes=10-99999999", slice(10, None)),
        ("bytes=-5", slice(-5, None)),
        ("bytes=-99999999", slice(0, None)),
    ],
)
async def test_a_range_is_answered_with_that_part(emulator, web, url, wanted, part):
    whole = emulator.outputs.content_of(url)
    status, headers, content = await fetch(web, url, Range=wanted)
    assert (status, content) == (206, whole[part])
    start = range(len(whole))[part].start
    assert headers["Content-Range"] == f"bytes {start}-{start + len(content) - 1}/{len(whole)}"


@pytest.mark.parametrize("wanted", ["bytes=2-1", "bytes=-", "bytes=0-1,3-4", "items=0-1", "bytes", "bytes=a-b"])
async def test_a_range_that_cannot_be_read_is_ignored(emulator, web, url, wanted):
    status, _, content = await fetch(web, url, Range=wanted)
    assert (status, content) == (200, emulator.outputs.content_of(url))


async def test_a_range_beyond_the_end_gets_416_with_the_size(emulator, web, url):
    size = len(emulator.outputs.content_of(url))
    for wanted in (f"bytes={size}-", f"bytes={size + 7}-{size + 9}", "bytes=-0"):
        status, headers, _ = await fetch(web, url, Range=wanted)
        assert (status, headers["Content-Range"]) == (416, f"bytes */{size}")


async def test_a_range_is_ignored_if_the_file_is_not_the_one_in_if_range(emulator, web, url):
    _, headers, whole = await fetch(web, url)
    etag, part = headers["ETag"], "bytes=500-"
    assert (await fetch(web, url, Range=part, If_Range=etag))[0] == 206
    for other in ('"other"', f"W/{etag}", "Wed, 21 Oct 2015 07:28:00 GMT"):
        status, _, content = await fetch(web, url, Range=part, If_Range=other)
        assert (status, content) == (200, whole)
    emulator.outputs.size = 5000
    status, headers, content = await fetch(web, url, Range=part, If_Range=etag)
    assert (status, content) == (200, emulator.outputs.content_of(url))
    assert headers["ETag"] != etag


async def test_both_ports_stay_the_same_after_a_restart(emulator, web, url):
    await emulator.close()
    with pytest.raises(aiohttp.ClientConnectorError):
        await fetch(web, url)
    await emulator.start()
    assert (await fetch(web, url))[0] == 200
