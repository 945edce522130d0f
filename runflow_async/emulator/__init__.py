"""An emulated Runflow API for development and tests, in the same process and on loopback.

from runflow_async.emulator import Emulator, faults

async with Emulator() as emulator:
    batch_id = emulator.create_batch(items=24, duration=5.0, fail=0.25)
    emulator.faults.append(faults.status(503, times=2))
    async with RunflowSession(emulator.api_key, base_url=emulator.url) as session:
        batch = await session.wait_for_batch(batch_id)
"""

from runflow_async.emulator import faults
from runflow_async.emulator.batches import BatchPlan
from runflow_async.emulator.callbacks import SentCallback
from runflow_async.emulator.drawing import BatchDetails
from runflow_async.emulator.faults import Fault
from runflow_async.emulator.outputs import Outputs
from runflow_async.emulator.received import ReceivedRequest
from runflow_async.emulator.server import Emulator
from runflow_async.emulator.threads import in_thread

__all__ = [
    "BatchDetails",
    "BatchPlan",
    "Emulator",
    "Fault",
    "Outputs",
    "ReceivedRequest",
    "SentCallback",
    "faults",
    "in_thread",
]
