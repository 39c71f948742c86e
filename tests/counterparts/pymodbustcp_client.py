"""A client on pyModbusTCP: `python -m tests.counterparts.pymodbustcp_client PORT`."""

from __future__ import annotations

import sys

from pyModbusTCP.client import ModbusClient

from tests.counterparts.obey import Answer, obey


def main(port: int) -> None:
    client = ModbusClient("127.0.0.1", port, timeout=5, auto_open=False)
    assert client.open(), client.last_error_as_txt
    read = {
        "holding": client.read_holding_registers,
        "input": client.read_input_registers,
        "coil": client.read_coils,
        "discrete": client.read_discrete_inputs,
    }

    def ask(verb: str, words: list[str]) -> list[int] | bool | str | None:
        if verb == "mask":
            return "missing"
        if verb == "readwrite":
            start, count, to, *values = map(int, words)
            answer: list[int] | None = client.write_read_multiple_registers(to, values, start, count)
            return answer
        table, at, *values = words[0], *map(int, words[1:])
        if verb == "read":
            answer = read[table](at, values[0])
            return answer
        if table == "coil":
            done: bool = (
                client.write_single_coil(at, bool(values[0]))
                if verb == "single"
                else client.write_multiple_coils(at, [bool(value) for value in values])
            )
            return done
        done = (
            client.write_single_register(at, values[0])
            if verb == "single"
            else client.write_multiple_registers(at, values)
        )
        return done

    def do(line: list[str]) -> Answer:
        verb, unit, *words = line
        client.unit_id = int(unit)
        answer = ask(verb, words)
        if isinstance(answer, (list, str)):
            return answer
        if answer:
            return "ok"
        return f"exception {client.last_except}" if client.last_except else f"error {client.last_error_as_txt}"

    obey(do)
    client.close()


if __name__ == "__main__":
    main(int(sys.argv[1]))
