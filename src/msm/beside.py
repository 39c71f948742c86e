"""Answers what does not move memory, from what the application gave as `Functions`."""

from __future__ import annotations

import asyncio
from array import array
from collections import deque
from collections.abc import Callable, Mapping, MutableSequence, Sequence

import anyio.to_thread

from msm.functions import Functions, encoded
from msm.servant import MOST_ASKED, Answer, Reply, guarded
from msm.wire import other_pdu, pymodbus_codec
from msm.wire.pdu import ILLEGAL_DATA_ADDRESS, ILLEGAL_DATA_VALUE, SERVER_DEVICE_BUSY, Refusal

# The objects of each stream (application protocol V1.1b3, section 6.21): a stream holds those of the ones before it.
_LAST_OBJECT = {other_pdu.BASIC: 0x02, other_pdu.REGULAR: 0x7F, other_pdu.EXTENDED: 0xFF}
AT_ONCE = (list, tuple, array, bytearray, deque)  # these do not wait for anything
_SINGLE_TOO = 0x80  # added to the conformity level: objects can be asked for one by one as well


def answers(functions: Functions) -> dict[int, Callable[[bytes], Reply]]:
    """Who answers which function; what has nothing to say is left out, and refused by exception 01."""
    found: dict[int, Callable[[bytes], Reply]] = {}
    if functions.exception_status is not None:
        found[other_pdu.READ_EXCEPTION_STATUS] = _in_a_thread(_exception_status(functions.exception_status))
    if functions.server_id is not None:
        found[other_pdu.REPORT_SERVER_ID] = _server_id(encoded(functions.server_id))
    if functions.files:
        at_once = all(isinstance(file, AT_ONCE) for file in functions.files.values())
        for code, make in ((other_pdu.READ_FILE_RECORD, _file_reader), (other_pdu.WRITE_FILE_RECORD, _file_writer)):
            found[code] = make(functions.files) if at_once else _in_a_thread(make(functions.files))
    if functions.fifos:
        reader = _fifo_reader(functions.fifos)
        at_once = all(isinstance(fifo, AT_ONCE) for fifo in functions.fifos.values())
        found[other_pdu.READ_FIFO_QUEUE] = reader if at_once else _in_a_thread(reader)
    if functions.identification:
        objects = {number: encoded(text) for number, text in sorted(functions.identification.items())}
        found[other_pdu.DEVICE_IDENTIFICATION] = _identification(objects)
    return found


def _in_a_thread(answer: Answer) -> Callable[[bytes], Reply]:
    """What an application gives may take its time: other clients do not wait for it."""
    running: set[asyncio.Task[bytes]] = set()  # a loop holds its tasks weakly

    async def run(request: bytes) -> bytes:
        return await anyio.to_thread.run_sync(guarded, answer, request, abandon_on_cancel=True)

    def begin(request: bytes) -> Reply:
        if len(running) >= MOST_ASKED:
            raise Refusal(SERVER_DEVICE_BUSY)
        task = asyncio.get_running_loop().create_task(run(request), name=f"msm function {request[0]:02X}")
        running.add(task)
        task.add_done_callback(running.discard)
        return task

    return begin


def _exception_status(status: Callable[[], int]) -> Answer:
    def answer(request: bytes) -> bytes:
        other_pdu.parse_bare(request)
        return pymodbus_codec.exception_status_reply(status())

    return answer


def _server_id(identifier: bytes) -> Answer:
    def answer(request: bytes) -> bytes:
        other_pdu.parse_bare(request)
        return pymodbus_codec.server_id_reply(identifier)

    return answer


def _file_reader(files: Mapping[int, MutableSequence[int]]) -> Answer:
    def answer(request: bytes) -> bytes:
        parts = other_pdu.parse_file_read(request)
        for part in parts:
            _check_file(files, part)
        return pymodbus_codec.file_read_reply(
            [_packed(files[part.file][part.record : part.record + part.words]) for part in parts]
        )

    return answer


def _file_writer(files: Mapping[int, MutableSequence[int]]) -> Answer:
    def answer(request: bytes) -> bytes:
        parts = other_pdu.parse_file_write(request)
        for part in parts:  # all of them, before the first is written: a refused request changes nothing
            _check_file(files, other_pdu.FileRead(part.file, part.record, len(part.data) // 2))
        stores = []
        for part in parts:
            words = [int.from_bytes(part.data[at : at + 2], "big") for at in range(0, len(part.data), 2)]
            # One slice, so that nobody sees half of it; and an array takes nothing but another array.
            file, place = files[part.file], slice(part.record, part.record + len(words))
            typecode = getattr(file, "typecode", "")
            stores.append((file, place, array(typecode, words) if typecode else words, file[place]))
        done = 0
        try:
            for done, (file, place, new, _) in enumerate(stores, 1):  # noqa: B007 - told below
                file[place] = new
        except BaseException:
            for file, place, _, old in stores[:done]:
                file[place] = old
            raise
        return request

    return answer


def _check_file(files: Mapping[int, MutableSequence[int]], part: other_pdu.FileRead) -> None:
    if part.file not in files or part.record + part.words > len(files[part.file]):
        raise Refusal(ILLEGAL_DATA_ADDRESS)


def _fifo_reader(fifos: Mapping[int, Sequence[int]]) -> Answer:
    def answer(request: bytes) -> bytes:
        address = other_pdu.parse_fifo(request)
        if address not in fifos:
            raise Refusal(ILLEGAL_DATA_ADDRESS)
        words = tuple(fifos[address])
        if len(words) > other_pdu.MAX_FIFO:
            raise Refusal(ILLEGAL_DATA_VALUE)  # section 6.18: more than can be told
        return pymodbus_codec.fifo_reply(words)

    return answer


def _identification(objects: Mapping[int, bytes]) -> Answer:
    last = max(objects)
    level = next(stream for stream, highest in _LAST_OBJECT.items() if last <= highest)

    def answer(request: bytes) -> bytes:
        stream, first = other_pdu.parse_identification_request(request)
        if stream == other_pdu.SPECIFIC:
            if first not in objects:
                raise Refusal(ILLEGAL_DATA_ADDRESS)
            return pymodbus_codec.identification_reply(stream, level | _SINGLE_TOO, {first: objects[first]})
        in_stream = {number: text for number, text in objects.items() if number <= _LAST_OBJECT[stream]}
        if first not in in_stream:
            first = 0  # section 6.21: as if the first were asked for
        return pymodbus_codec.identification_reply(
            stream, level | _SINGLE_TOO, {number: text for number, text in in_stream.items() if number >= first}
        )

    return answer


def _packed(words: Sequence[int]) -> bytes:
    return b"".join(word.to_bytes(2, "big") for word in words)
