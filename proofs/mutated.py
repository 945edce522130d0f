"""Which modules are mutated, and which quick tests are to notice."""

from __future__ import annotations

__all__ = ["SELECTIONS"]

SELECTIONS = {
    "_answers/contradictions": "test_transitions test_updates test_waiting",
    "_answers/decoding": "test_decoding test_models test_updates test_callback_deliveries test_items test_waiting",
    "_answers/ledger": "test_transitions test_updates test_waiting test_batched test_observers test_watchers",
    "_answers/lenient": "test_decoding test_models test_updates test_items test_creating test_waiting",
    "_answers/pending": "test_transitions test_updates test_batched test_fleet test_waiting",
    "_answers/snapshots": "test_transitions test_updates test_models test_waiting",
    "_answers/tally": "test_tally test_models test_estimates test_progress test_schedules test_waiting",
    "_answers/transitions": "test_transitions test_updates test_waiting",
    "_answers/updates": "test_updates test_transitions test_waiting",
    "_http/bodies": "test_decompressing test_lane test_transport test_wire faults/test_bodies faults/test_statuses",
    "_http/lane": "test_lane test_transport test_wire test_unused test_creating faults/test_network faults/test_time",
    "_http/line": "test_lane test_transport test_wire faults/test_bodies faults/test_network",
    "_http/ordinary": "test_transport faults/test_borrowed test_creating faults/test_bodies faults/test_network",
    "_http/replies": "test_replies test_transport faults/test_bodies",
    "_http/throttle": "test_throttle test_window test_turns test_transport test_watchers faults/test_outages",
    "_http/turns": "test_turns test_window test_transport test_batched faults/test_lifecycle",
    "_http/window": "test_window test_throttle test_turns",
    "_http/wire": "test_wire test_lane test_transport test_protocol faults/test_network faults/test_bodies",
    "_waits/agenda": "test_agenda test_waiting test_nudges test_watchers faults/test_time",
    "_waits/alarm": "test_alarm test_watchers test_nudges",
    "_waits/costs": "test_costs test_waiting test_watchers test_estimates",
    "_waits/pacing": "test_pacing test_schedules test_watchers test_waiting",
    "_waits/timetable": "test_timetable test_rota test_nudges test_fleet",
}
"""By module, names below `tests/`; those that notice most come first, because the first failure ends a run."""

ON_BOTH_LANES = ("_http/ordinary", "_http/wire")
"""Modules whose tests are also run over aiohttp's client session."""
