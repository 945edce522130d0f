"""A hundred thousand spoilt answers: each one is taken whole or refused whole, and nothing else comes out.

Every seed spoils the same bodies in the same way each time it runs; a failure shows the body.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
from collections import Counter
from contextlib import suppress
from copy import copy
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runflow_async._answers.decoding import decode_batch, decode_poll
from runflow_async._answers.ledger import Ledger
from runflow_async._waits.settling import next_settling_delay
from runflow_async.errors import MalformedResponseError
from runflow_async.models import TERMINAL_STATUSES, Batch
from tests.virtual import BATCH_ID, ISOLATED, RUN_ID, body, item_id, line, look_at_everything, play

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime
    from uuid import UUID

    from runflow_async._answers.decoding import PollAnswer

HISTORIES_PER_SEED = 500
BODIES_PER_HISTORY = 20
SEEDS = range(10)  # 100,000 bodies

STATUSES = ["queued", "running", "succeeded", "failed", "cancelled", "odd", ""]
DETAILS = {
    "items_total": 3,
    "items_succeeded": 1,
    "cost": "1.2500",
    "output": None,
    "metadata": {"ratio": 0.5},
    "created_at": "2026-01-02T03:04:05.678Z",
    "duration_ms": 1500,
}
LITERALS = [
    *(b"null", b"true", b"false", b"[]", b"{}", b"[null]", b"[[]]", b"[{}]", b'{"id": 1}', b"", b"undefined"),
    *(b"0", b"-1", b"1.5", b"1e3", b"1e999", b"-0.0", b"01", b"NaN", b"Infinity", b"-Infinity"),
    *(str(number).encode() for number in (2**63, -(2**63) - 1, 2**64, 2**70, 10**400)),
    *(b'""', b'"x"', b'"\\ud800"', b'"\\ud83d\\ude00"', b'"\xff"', b'"\\u0000"', b'"\n"', b"'x'", b'"'),
    *(f'"{status}"'.encode() for status in STATUSES),
    *(b'"NaN"', b'"1e999999999"', b'"2026-01-02"', b'"2026-02-30T10:00:60Z"', b'"2026-01-02T03:04:05"'),
    *(f'"{text}"'.encode() for text in (RUN_ID, item_id(0).upper(), item_id(1).replace("-", ""), item_id(2) + ",")),
    *(b"[" * 100 + b"]" * 100, b"[" * 3000 + b"]" * 3000, b'{"a":' * 3000 + b"1" + b"}" * 3000, b"9" * 5000),
]
KEYS = [b'"id"', b'"status_code"', b'"items"', b'"completed_at"', b'"sequence_index"', b'"odd"', b'""', b"id", b"7"]
TOKEN = re.compile(rb'("(?:[^"\\]|\\.)*")(\s*:)?|[-\w.]+|\{\}|\[\]')


class Original(NamedTuple):
    """A valid response, and where its keys and values stand."""

    body: bytes
    keys: list[tuple[int, int]]
    values: list[tuple[int, int]]


def dissect(answer: bytes) -> Original:
    tokens = list(TOKEN.finditer(answer))
    start = answer.index(b'"items": ') + len(b'"items": ')
    items = start, start + len(json.dumps(json.loads(answer)["items"]))
    return Original(
        answer,
        [found.span(1) for found in tokens if found[2]],
        [*(found.span() for found in tokens if not found[2]), items],
    )


ORIGINALS = [
    dissect(body(status, items, **fields))
    for status, items, fields in [
        ("queued", ["queued", "queued", "queued"], {"items_total": 3, "items_failed": 0}),
        ("running", ["running", "queued", "running"], {"id": str(BATCH_ID).upper()}),
        ("running", ["succeeded", "running", "failed"], DETAILS),
        ("running", [line(2, "failed"), line(0, "succeeded"), line(3, "queued")], {"items_total": 4}),
        ("running", ["queued", line(1, "running", client_ref=None), line(1, "succeeded")], {"id": RUN_ID}),
        ("succeeded", ["succeeded"] * 3, {"completed_at": "2026-01-02T03:05:00Z"} | DETAILS),
        (None, None, {"links": {"self": "/v1"}}),
    ]
]


def flip_bits(chance: random.Random, original: Original) -> bytes:
    spoilt = bytearray(original.body)
    for _ in range(chance.randint(1, 3)):
        spoilt[chance.randrange(len(spoilt))] ^= 1 << chance.randrange(8)
    return bytes(spoilt)


def cut(chance: random.Random, original: Original) -> bytes:
    start, end = sorted((chance.randrange(len(original.body)), chance.randrange(len(original.body))))
    return chance.choice((original.body[:start], original.body[start:], original.body[:start] + original.body[end:]))


def splice(chance: random.Random, original: Original) -> bytes:
    other = chance.choice(ORIGINALS)
    number = chance.randrange(min(len(original.values), len(other.values)))
    ends = original.values[number][0], other.values[number][0]
    if chance.random() < 0.3:
        ends = chance.randrange(len(original.body)), chance.randrange(len(other.body))
    return original.body[: ends[0]] + other.body[ends[1] :]


def swap_type(chance: random.Random, original: Original) -> bytes:
    start, end = chance.choice(original.values)
    return original.body[:start] + chance.choice(LITERALS) + original.body[end:]


def swap_values(chance: random.Random, original: Original) -> bytes:
    whole = original.body
    (a, b), (c, d) = sorted(chance.sample(original.values[:-1], 2))
    return whole[:a] + whole[c:d] + whole[b:c] + whole[a:b] + whole[d:]


def rename_key(chance: random.Random, original: Original) -> bytes:
    start, end = chance.choice(original.keys)
    return original.body[:start] + chance.choice(KEYS) + original.body[end:]


def duplicate_key(chance: random.Random, original: Original) -> bytes:
    start, end = chance.choice(original.keys)
    again = original.body[start:end] + b":" + chance.choice(LITERALS)
    if chance.random() < 0.5:
        return original.body[:start] + again + b"," + original.body[start:]
    return original.body[:-1] + b"," + again + b"}"


def insert_bytes(chance: random.Random, original: Original) -> bytes:
    at = chance.randrange(len(original.body) + 1)
    return original.body[:at] + chance.randbytes(chance.randint(1, 4)) + original.body[at:]


def replace_text(chance: random.Random, original: Original) -> bytes:
    start, end = chance.choice(original.values)
    return original.body[:start] + json.dumps(chance.choice(STATUSES)).encode() + original.body[end:]


def break_text(chance: random.Random, original: Original) -> bytes:
    """What some JSON writers make of a text that was cut in the middle of a pair, and of a number that is none."""
    start, end = chance.choice(original.values)
    return original.body[:start] + b'"a\\ud83d"' + original.body[end:-1] + b', "odd": NaN}'


def make_up(chance: random.Random, original: Original) -> bytes:
    return chance.randbytes(chance.randrange(64))


def keep(chance: random.Random, original: Original) -> bytes:
    return original.body


SPOILERS: list[Callable[[random.Random, Original], bytes]] = [
    *(flip_bits, flip_bits, cut, splice, splice, swap_type, swap_type, swap_values),
    *(rename_key, duplicate_key, insert_bytes, replace_text, break_text, make_up),
]


def view_of(ledger: Ledger) -> tuple[object, ...]:
    """All that can be seen of a ledger, without a trace of having looked."""
    ledger = copy(ledger)
    return ledger.batch, ledger.delivered, ledger.tally, ledger.is_terminal, ledger.has_pending


class Wait:
    """A ledger, and beside it the last status of every item, seen and delivered, kept in the plainest way."""

    def __init__(self, now: datetime, since: Batch | None = None) -> None:
        self.now = now
        self.ledger = Ledger(BATCH_ID, since)
        self.known = statuses_of(since)
        self.delivered = dict(self.known)

    def receive(self, answer: bytes) -> bool:
        """Take an answer as a wait does, check what comes of it, and return whether it was accepted."""
        before = view_of(self.ledger)
        try:
            read = self.ledger.read(answer)
        except MalformedResponseError:
            assert view_of(self.ledger) == before, "half of a refused answer was applied"
            assert not self.ledger.is_unchanged(answer), "it would pass for a good one if it came again"
            with pytest.raises(MalformedResponseError):
                decode_poll(answer)
            return False
        self.ledger.is_terminal = False  # or it would ignore what is not terminal, however it is spoilt
        self.ledger.take(answer, read, self.now)
        self._learn(decode_poll(answer))
        return True

    def _learn(self, answer: PollAnswer) -> None:
        latest = {handle.id: handle.status_code for handle in answer.items or ()}
        ended = {key for key, status in self.known.items() if status in TERMINAL_STATUSES}
        self.known |= {key: status for key, status in latest.items() if key not in ended}

    def deliver(self, most: int) -> None:
        """Hand out some transitions, each of which must lead on from the one before."""
        for _ in range(most):
            if (transition := self.ledger.next_transition()) is None:
                return
            key = transition.item.id
            assert transition.previous == self.delivered.get(key)
            assert transition.current == self.known[key] != transition.previous
            assert transition.previous not in TERMINAL_STATUSES
            self.delivered[key] = transition.current

    def look(self) -> None:
        """Look at everything that a consumer can see."""
        batch, delivered = self.ledger.batch, self.ledger.delivered
        assert statuses_of(batch) == self.known
        assert statuses_of(delivered) == self.delivered
        assert self.ledger.has_pending or self.delivered == self.known
        settled = next_settling_delay(self.ledger.statuses.values(), 0.0) is None
        assert settled == TERMINAL_STATUSES.issuperset(self.known.values())
        self.ledger.report_missing()
        msgspec.json.encode((batch, delivered))


def statuses_of(batch: Batch | None) -> dict[UUID, str]:
    return {handle.id: handle.status_code for handle in (batch and batch.items) or ()}


def is_refused_whole(answer: bytes) -> bool:
    try:
        decode_batch(answer)
    except MalformedResponseError:
        return True
    return False


def step(chance: random.Random, wait: Wait, answer: bytes) -> bool:
    """What a wait and its consumer do with one answer; returns whether it was accepted."""
    is_accepted = wait.receive(answer)
    if is_accepted:
        wait.deliver(chance.randrange(4))
        wait.look()
    elif chance.random() < 0.25:
        is_refused_whole(answer)  # it may be accepted, but nothing else may be raised
    return is_accepted


def run_history(chance: random.Random, now: datetime) -> Counter[bool]:
    """One wait's life of spoilt answers, with a consumer that is now quick and now slow."""
    wait, outcomes = Wait(now), Counter[bool]()
    step(chance, wait, chance.choice(ORIGINALS[:5]).body)
    for _ in range(BODIES_PER_HISTORY):
        answer = chance.choice(SPOILERS)(chance, chance.choice(ORIGINALS))
        try:
            outcomes[step(chance, wait, answer)] += 1
        except Exception as error:
            error.add_note(f"the answer was {answer!r}")
            raise
    wait.deliver(1000)
    wait.look()
    assert not wait.ledger.has_pending
    return outcomes


def fuzz(seed: int, histories: int, now: datetime) -> Counter[bool]:
    chance = random.Random(seed)
    return sum((run_history(chance, now) for _ in range(histories)), Counter())


def test_some_spoilt_answers_are_accepted_whole_or_refused_whole(now_utc):
    """Also that some are accepted: a fuzz in which everything is refused would prove little."""
    outcomes = fuzz(-1, 100, now_utc)
    assert outcomes.total() == 100 * BODIES_PER_HISTORY
    assert min(outcomes[True], outcomes[False]) > 0.03 * outcomes.total()


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
def test_ten_thousand_spoilt_answers_are_accepted_whole_or_refused_whole(seed, now_utc):
    assert fuzz(seed, HISTORIES_PER_SEED, now_utc).total() >= 10_000


@ISOLATED
async def test_everything_a_wait_shows_can_be_read_after_any_answer():
    """Properties, `repr`, JSON and pickle, after each answer and at the end, whatever it was."""
    chance = random.Random(14)
    for _ in range(100):
        answers = [chance.choice(SPOILERS)(chance, chance.choice(ORIGINALS)) for _ in range(4)]
        wait = play(chance.choice(ORIGINALS[:5]).body, *answers).wait(timeout=60.0, interval=1.0)
        try:
            for _ in range(10):
                with suppress(MalformedResponseError, TimeoutError):
                    async with asyncio.timeout(0.99):
                        await wait
                look_at_everything(wait)
        except Exception as error:
            error.add_note(f"the answers were {answers!r}")
            raise


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.sampled_from([10**400, RUN_ID]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


def mostly(good: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(*[good] * 15, VALUES)


LINES = st.integers(0, 3).flatmap(
    lambda index: st.fixed_dictionaries(
        {"id": mostly(st.just(item_id(index))), "sequence_index": mostly(st.just(index)), "run_id": st.just(RUN_ID)},
        optional={"status_code": mostly(st.sampled_from(STATUSES)), "client_ref": mostly(st.none())},
    )
)
WHOLE_LINES = st.builds(line, st.integers(0, 3), st.sampled_from(STATUSES))
DOCUMENTS = st.fixed_dictionaries(
    {"id": mostly(st.just(str(BATCH_ID))), "status_code": mostly(st.sampled_from(STATUSES))},
    optional={"items": mostly(st.lists(WHOLE_LINES | LINES, max_size=5))}
    | {name: mostly(st.just(value)) for name, value in DETAILS.items()}
    | {"completed_at": mostly(st.none()), "odd": VALUES},
)


@settings(derandomize=True, deadline=None, database=None)
@given(documents=st.lists(DOCUMENTS, min_size=1, max_size=6), patience=st.integers(0, 3))
def test_a_refused_answer_does_not_change_the_stream(documents, patience, now_utc):
    """Two consumers get the same, although one of them never receives the refused answers."""
    one, other = Wait(now_utc), Wait(now_utc)
    for document in documents:
        answer = json.dumps(document).encode()
        if one.receive(answer):
            assert other.receive(answer)
        for wait in (one, other):
            wait.deliver(patience)
            wait.look()
        assert one.ledger.batch == other.ledger.batch
        assert one.ledger.delivered == other.ledger.delivered


@settings(derandomize=True, deadline=None, database=None)
@given(document=VALUES | DOCUMENTS, encoding=st.sampled_from(["utf-8", "utf-16", "utf-8-sig", "latin-1"]))
def test_any_json_document_in_any_encoding_is_accepted_or_refused(document, encoding, now_utc):
    answer = json.dumps(document, ensure_ascii=False).encode(
        encoding, errors="surrogatepass" if "8" in encoding else "replace"
    )
    if Wait(now_utc).receive(answer):
        assert not is_refused_whole(answer)
    else:
        is_refused_whole(answer)
