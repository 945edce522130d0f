"""Names of saved files: no path leaves the folder, and no two files share one, whatever a server writes. Row 167."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given, strategies

from runflow_async import BatchItem
from runflow_async._downloads.names import NOTE, PART, Names, extension_of, name_from_url, safe_name

WINDOWS_FORBIDS = set('<>:"/\\|?*')


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("image.png", "image.png"),
        ("../../etc/passwd", "_.._etc_passwd"),
        ("..", ""),
        (".", ""),
        ("", ""),
        ("/etc/passwd", "_etc_passwd"),
        ("C:\\Windows\\x.png", "C__Windows_x.png"),
        ("\\\\host\\share", "__host_share"),
        ("a\0b.png", "a_b.png"),
        ("a\r\nb\x1b[31m.png", "a__b_[31m.png"),
        ("gpj.\u202eexe", "gpj._exe"),
        ("CON", "_CON"),
        ("nul.png", "_nul.png"),
        ("com1 .txt", "_com1 .txt"),
        ("lpt\u00b9", "_lpt\u00b9"),
        ("conundrum.png", "conundrum.png"),
        ("name. . ", "name"),
        (".bashrc", "bashrc"),
        ("cafe\u0301.png", "caf\u00e9.png"),
        ('a?b*c|d<e>f"g.png', "a_b_c_d_e_f_g.png"),
    ],
)
def test_a_text_becomes_one_component_of_a_path(text, name):
    assert safe_name(text) == name


@pytest.mark.parametrize("text", ["\u00e9" * 300 + ".png", "x" * 5000 + ".png", "\U0001f600" * 100 + ".png"])
def test_a_long_name_is_cut_in_bytes_and_keeps_its_extension(text):
    name = safe_name(text)
    assert name.endswith(".png")
    assert len(name.encode()) <= 120


@given(strategies.text(max_size=300))
def test_whatever_the_text_is_the_name_is_safe(text):
    name = safe_name(text)
    assert name not in {".", ".."}
    assert not WINDOWS_FORBIDS & set(name)
    assert name.isprintable()
    assert name == name.strip(". ") == unicodedata.normalize("NFC", name)
    assert len(name.encode()) <= 121


@pytest.mark.parametrize(
    ("url", "media_type", "name"),
    [
        ("https://h/a/b/image.png?sig=1#x", None, "image.png"),
        ("https://h/a/image.png", "image/webp", "image.png"),
        ("https://h/a/image", "image/png", "image.png"),
        ("https://h/a/image", "image/jpeg; charset=x", "image.jpg"),
        ("https://h/a/image", "image", "image"),
        ("https://h/a/v1.2 final", "video/mp4", "v1.2 final.mp4"),
        ("https://h/", None, "output"),
        ("https://h", "image/png", "output.png"),
        ("https://h/a/..%2f..%2fetc%2fpasswd", None, "_.._etc_passwd"),
        ("https://h/a/%2e%2e", None, "output"),
        ("https://h/a/%00.png", None, "_.png"),
        ("https://h/a/%ff.png", None, "\ufffd.png"),
        ("https://[::1/broken", None, "output"),
    ],
)
def test_a_file_is_called_what_its_url_calls_it_with_an_extension_from_there_or_from_its_type(url, media_type, name):
    assert name_from_url(url, media_type) == name


def test_an_unknown_type_has_no_extension():
    assert (extension_of(None), extension_of("image"), extension_of("x/y"), extension_of("IMAGE/PNG")) == (
        "",
        "",
        "",
        ".png",
    )


def test_names_that_a_file_system_takes_for_one_are_told_apart():
    names = Names()
    given = ["a.png", "A.PNG", "a.png", "caf\u00e9", "cafe\u0301", "\ufb01", "fi", "stra\u00dfe", "STRASSE"]
    taken = [names.take(name) for name in given]
    assert taken == [
        "a.png",
        "A-2.PNG",
        "a-3.png",
        "caf\u00e9",
        "cafe\u0301-2",
        "\ufb01",
        "fi-2",
        "stra\u00dfe",
        "STRASSE-2",
    ]


@pytest.mark.parametrize("order", [["x.png", "x.png.part"], ["x.png.part", "x.png"], ["x", "x.part.json"]])
def test_no_name_is_that_of_another_files_part(order):
    names = Names(beside=(PART, NOTE))
    taken = [names.take(name) for name in order]
    files = {name + end for name in taken for end in ("", PART, NOTE)}
    assert len(files) == 6


def test_ten_thousand_files_of_one_name_are_named_at_once():
    names = Names()
    assert len({names.take("output.png") for _ in range(10_000)}) == 10_000


@pytest.mark.parametrize(
    ("output", "urls"),
    [
        (None, []),
        ({}, []),
        ({"outputs": [{"url": "https://a", "type": "image"}, {"url": "https://b"}]}, ["https://a", "https://b"]),
        ({"image_urls": ["https://a", "https://b"]}, ["https://a", "https://b"]),
        ({"outputs": [{"url": "https://a"}], "image_urls": ["https://b", "https://a"]}, ["https://a", "https://b"]),
        ({"url": "https://a", "items": ["https://b"]}, []),
        ({"outputs": {"url": "https://a"}}, []),
        ({"outputs": "https://a", "image_urls": "https://b"}, []),
        ({"outputs": [None, 3, "https://a", {"url": None}, {"url": ["x"]}, {}, {"url": ""}]}, []),
        ({"image_urls": [None, 3, {"url": "https://a"}, "", "https://b"]}, ["https://b"]),
    ],
)
def test_an_items_urls_are_those_of_both_shapes_of_an_output(output, urls):
    item = BatchItem(id="00000000-0000-0000-0000-000000000001", output=output)
    assert item.urls == urls
