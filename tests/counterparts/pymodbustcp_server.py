"""A server on pyModbusTCP: `python -m tests.counterparts.pymodbustcp_server PORT`."""

from __future__ import annotations

import os
import sys

from pyModbusTCP.server import DataBank, ModbusServer

from tests.counterparts.obey import BITS, INPUTS, WORDS, Answer, obey


def main(port: int) -> None:
    bank = DataBank(coils_size=BITS, d_inputs_size=BITS, h_regs_size=WORDS, i_regs_size=INPUTS)
    get = {
        "coil": bank.get_coils,
        "discrete": bank.get_discrete_inputs,
        "holding": bank.get_holding_registers,
        "input": bank.get_input_registers,
    }
    put = {
        "coil": bank.set_coils,
        "discrete": bank.set_discrete_inputs,
        "holding": bank.set_holding_registers,
        "input": bank.set_input_registers,
    }
    ModbusServer("127.0.0.1", port, no_block=True, data_bank=bank).start()

    def do(line: list[str]) -> Answer:
        verb, table, at, *rest = line
        numbers = [int(word) for word in rest]
        if verb == "get":
            return [int(value) for value in get[table](int(at), numbers[0])]
        assert put[table](int(at), [bool(value) for value in numbers] if table in ("coil", "discrete") else numbers)
        return "ok"

    obey(do)
    os._exit(0)  # its threads need not be waited for


if __name__ == "__main__":
    main(int(sys.argv[1]))
