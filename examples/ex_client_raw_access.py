"""A client without variables: a prompt that reads and writes raw words.

Run it while ex_server_raw_access.py runs in another terminal:

    python ex_client_raw_access.py [endpoint]
"""

import sys

from msm import MemoryStore, ModbusClient, MsmError

HELP = """\
3        read word 3
3 500    write 500 to word 3
         (an empty line) show all words
Ctrl+D or Ctrl+C ends."""

endpoint = sys.argv[1] if len(sys.argv) > 1 else "tcp://localhost:5020"

mem = MemoryStore(20)  # 20 words of 16 bits

client = ModbusClient(mem, endpoint)

try:
    print("looking for", endpoint, flush=True)
    client.run()
    print(HELP)
    while True:
        line = input("> ")
        try:
            match [int(number) for number in line.split()]:
                case []:
                    print(mem.dump())
                case [address]:
                    print(mem.get_value(address))
                case [address, value]:
                    mem.set_value(address, value)
                    client.flush()
                case _:
                    print(HELP)
        except (ValueError, MsmError) as error:
            print(error)
except (EOFError, KeyboardInterrupt):
    print()
finally:
    client.kill()
