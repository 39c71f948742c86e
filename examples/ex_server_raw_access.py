"""A server without variables: twenty raw words, of which word 0 changes by itself.

Run it in one terminal, and ex_client_raw_access.py in another:

    python ex_server_raw_access.py [endpoint]
"""

import random
import sys
import time

from msm import MemoryStore, ModbusServer

endpoint = sys.argv[1] if len(sys.argv) > 1 else "tcp://localhost:5020"

mem = MemoryStore(20)  # 20 words of 16 bits

server = ModbusServer(mem, endpoint)
server.run()
print("serving at", server.endpoint, flush=True)

try:
    while True:
        mem.set_value(0, random.randint(0, 65535))
        print(mem.dump(), flush=True)
        time.sleep(0.5)
except KeyboardInterrupt:
    pass
finally:
    server.kill()
