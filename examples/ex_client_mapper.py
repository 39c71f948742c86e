"""A client: the same eight words, kept the same as those of the server.

Run it while ex_server_mapper.py runs in another terminal:

    python ex_client_mapper.py [endpoint]

Or import it in a Python shell, and play with `mem` and `client`.
"""

import sys
import time

from msm import MemoryStore, MemoryVariable, ModbusClient

endpoint = sys.argv[1] if len(sys.argv) > 1 else "tcp://localhost:5020"

mem = MemoryStore(8)  # 8 words of 16 bits

mem.WORK_MODE = MemoryVariable.byte(address=0, byte_number=0)  # word 0, bits 0 to 7
mem.PROCESS_STEP = MemoryVariable.byte(address=0, byte_number=1)  # word 0, bits 8 to 15
mem.CURRENT_VALUE = MemoryVariable.uint32(address=1)  # words 1 and 2, the low word first
mem.CONTROL_WORD = MemoryVariable.word(address=3)  # word 3
mem.ERROR_STATE = MemoryVariable.bool(address=3, bit_number=0)  # word 3, bit 0: also bit 0 of CONTROL_WORD

client = ModbusClient(mem, endpoint)
try:
    print("looking for", endpoint, flush=True)
    client.run()
except KeyboardInterrupt:
    sys.exit(130)


def show() -> None:
    """Print what the memory holds, and give the reader two seconds."""
    print(
        f"WORK_MODE={mem.WORK_MODE} PROCESS_STEP={mem.PROCESS_STEP} CURRENT_VALUE={mem.CURRENT_VALUE} "
        f"CONTROL_WORD={mem.CONTROL_WORD} ERROR_STATE={mem.ERROR_STATE}",
        flush=True,
    )
    time.sleep(2)


if __name__ == "__main__":
    try:
        show()
        mem.WORK_MODE = 1
        show()
        mem.PROCESS_STEP = 20
        show()
        mem.CURRENT_VALUE = 99999
        show()
        mem.CONTROL_WORD = 24
        show()
    except KeyboardInterrupt:
        pass
    finally:
        client.kill()
