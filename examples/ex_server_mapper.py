"""A server: eight words of memory that Modbus clients read and write.

Run it in one terminal, and ex_client_mapper.py in another:

    python ex_server_mapper.py [endpoint]
"""

import sys
import time

from msm import MemoryStore, MemoryVariable, ModbusServer

endpoint = sys.argv[1] if len(sys.argv) > 1 else "tcp://localhost:5020"

mem = MemoryStore(8)  # 8 words of 16 bits

mem.WORK_MODE = MemoryVariable.byte(address=0, byte_number=0)  # word 0, bits 0 to 7
mem.PROCESS_STEP = MemoryVariable.byte(address=0, byte_number=1)  # word 0, bits 8 to 15
mem.CURRENT_VALUE = MemoryVariable.uint32(address=1)  # words 1 and 2, the low word first
mem.CONTROL_WORD = MemoryVariable.word(address=3)  # word 3
mem.ERROR_STATE = MemoryVariable.bool(address=3, bit_number=0)  # word 3, bit 0: also bit 0 of CONTROL_WORD

server = ModbusServer(mem, endpoint)
server.run()
print("serving at", server.endpoint, flush=True)

try:
    while True:
        print(
            f"WORK_MODE={mem.WORK_MODE} PROCESS_STEP={mem.PROCESS_STEP} CURRENT_VALUE={mem.CURRENT_VALUE} "
            f"CONTROL_WORD={mem.CONTROL_WORD} ERROR_STATE={mem.ERROR_STATE}",
            flush=True,
        )
        mem.ERROR_STATE = not mem.ERROR_STATE
        time.sleep(0.5)
except KeyboardInterrupt:
    pass
finally:
    server.kill()
