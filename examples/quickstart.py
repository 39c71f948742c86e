"""Both ends in one program: a machine that serves its memory, and a panel that keeps a copy of it.

It takes about ten seconds and ends by itself:

    python quickstart.py [endpoint]
"""

import sys
import time
from contextlib import suppress

from msm import MemoryStore, MemoryVariable, ModbusClient, ModbusServer

endpoint = sys.argv[1] if len(sys.argv) > 1 else "tcp://localhost:5020"


def declare() -> MemoryStore:
    """Eight words, and the names of what lies in them: the same for both ends."""
    mem = MemoryStore(8)
    mem.WORK_MODE = MemoryVariable.byte(address=0, byte_number=0)  # word 0, bits 0 to 7
    mem.PROCESS_STEP = MemoryVariable.byte(address=0, byte_number=1)  # word 0, bits 8 to 15
    mem.CURRENT_VALUE = MemoryVariable.uint32(address=1)  # words 1 and 2, the low word first
    mem.CONTROL_WORD = MemoryVariable.word(address=3)  # word 3
    mem.ERROR_STATE = MemoryVariable.bool(address=3, bit_number=0)  # word 3, bit 0: also bit 0 of CONTROL_WORD
    return mem


def show(who: str, mem: MemoryStore) -> None:
    """Print what one end holds."""
    print(
        f"{who}: WORK_MODE={mem.WORK_MODE} PROCESS_STEP={mem.PROCESS_STEP} CURRENT_VALUE={mem.CURRENT_VALUE} "
        f"CONTROL_WORD={mem.CONTROL_WORD} ERROR_STATE={mem.ERROR_STATE}",
        flush=True,
    )


def main() -> None:
    """The machine counts, and the panel tells it what to do."""
    machine = declare()
    panel = declare()
    with ModbusServer(machine, endpoint) as server, ModbusClient(panel, server.endpoint):
        print("the machine serves at", server.endpoint, flush=True)
        panel.WORK_MODE = 1
        panel.CONTROL_WORD = 24
        for step in range(1, 11):
            machine.PROCESS_STEP = step
            machine.CURRENT_VALUE = 11111 * step
            machine.ERROR_STATE = not machine.ERROR_STATE
            time.sleep(1)
            show("machine", machine)
            show("panel  ", panel)


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        main()
