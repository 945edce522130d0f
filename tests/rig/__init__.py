"""A rig to try every fault of a network on, against real sockets on loopback.

`ScriptedServer` answers byte by byte what a script says; `FaultyProxy` spoils what another server answers;
`Certificates` are good and bad; `cancel_at_every_suspension` and `assert_no_leaks` check what an end leaves behind.
"""

from __future__ import annotations

from tests.rig.asgi import on_uvicorn
from tests.rig.bodies import asked_in, http, item, json_batch
from tests.rig.cancelling import Cut, cancel_at_every_suspension
from tests.rig.certificates import Certificates
from tests.rig.clock import given_time, lateness
from tests.rig.leaks import assert_no_leaks, connections_in_use, eventually
from tests.rig.ports import deaf_port, refused_port
from tests.rig.proxy import Ending, FaultyProxy, Toxic
from tests.rig.replies import Reply, close, drip, endless, hang, on_accept, pause, push, reset, send
from tests.rig.server import ScriptedServer

__all__ = [
    "Certificates",
    "Cut",
    "Ending",
    "FaultyProxy",
    "Reply",
    "ScriptedServer",
    "Toxic",
    "asked_in",
    "assert_no_leaks",
    "cancel_at_every_suspension",
    "close",
    "connections_in_use",
    "deaf_port",
    "drip",
    "endless",
    "eventually",
    "given_time",
    "hang",
    "http",
    "item",
    "json_batch",
    "lateness",
    "on_accept",
    "on_uvicorn",
    "pause",
    "push",
    "refused_port",
    "reset",
    "send",
]
