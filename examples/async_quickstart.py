"""Both ends in one event loop: a machine that serves its memory, and a panel that keeps a copy of it.

It takes about five seconds and ends by itself:

    python async_quickstart.py [endpoint]
"""

import asyncio
import sys
from contextlib import suppress

from msm import AsyncModbusClient, AsyncModbusServer, MemoryStore, MemoryVariable

endpoint = sys.argv[1] if len(sys.argv) > 1 else "tcp://localhost:5020"


class Press(MemoryStore, size=8):
    """Eight words, and the names of what lies in them. Declared in a class, they are known to type checkers."""

    WORK_MODE = MemoryVariable.byte(address=0, byte_number=0)  # word 0, bits 0 to 7
    PROCESS_STEP = MemoryVariable.byte(address=0, byte_number=1)  # word 0, bits 8 to 15
    CURRENT_VALUE = MemoryVariable.uint32(address=1)  # words 1 and 2, the low word first
    CONTROL_WORD = MemoryVariable.word(address=3)  # word 3
    ERROR_STATE = MemoryVariable.bool(address=3, bit_number=0)  # word 3, bit 0: also bit 0 of CONTROL_WORD


async def work(machine: Press) -> None:
    """What the machine does meanwhile, in the same loop."""
    while True:
        machine.CURRENT_VALUE += 11111
        machine.ERROR_STATE = not machine.ERROR_STATE
        await asyncio.sleep(0.5)


async def main() -> None:
    """The panel tells the machine what to do, and looks what came of it."""
    machine = Press()
    panel = Press()
    async with AsyncModbusServer(machine, endpoint) as server, AsyncModbusClient(panel, server.endpoint) as client:
        print("the machine serves at", server.endpoint, flush=True)
        working = asyncio.create_task(work(machine))
        for step in range(1, 6):
            panel.PROCESS_STEP = step
            await client.flush()  # the machine has it
            print(f"machine: PROCESS_STEP={machine.PROCESS_STEP}", flush=True)
            await client.refresh()  # the panel has what the machine holds now
            print(f"panel  : CURRENT_VALUE={panel.CURRENT_VALUE} ERROR_STATE={panel.ERROR_STATE}", flush=True)
            await asyncio.sleep(1)
        working.cancel()


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        asyncio.run(main())
