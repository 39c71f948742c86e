"""Answers what does not move memory, from what the application gave as `Functions`."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Mapping, MutableSequence, Sequence

from msm.functions import Functions, encoded
from msm.servant import Answer
from msm.wire import other_pdu, pymodbus_codec
from msm.wire.pdu import ILLEGAL_DATA_ADDRESS, ILLEGAL_DATA_VALUE, Refusal

# The objects of each stream (application protocol V1.1b3, section 6.21): a stream holds those of the ones before it.
_LAST_OBJECT = {other_pdu.BASIC: 0x02, other_pdu.REGULAR: 0x7F, other_pdu.EXTENDED: 0xFF}
_SINGLE_TOO = 0x80  # added to the conformity level: objects can be asked for one by one as well


def answers(functions: Functions) -> dict[int, Answer]:
    """Who answers which function; what has nothing to say is left out, and refused by exception 01."""
    found: dict[int, Answer] = {}
    if functions.exception_status is not None:
        found[other_pdu.READ_EXCEPTION_STATUS] = _exception_status(functions.exception_status)
    if functions.server_id is not None:
        found[other_pdu.REPORT_SERVER_ID] = _server_id(encoded(functions.server_id))
    if functions.files:
        found[other_pdu.READ_FILE_RECORD] = _file_reader(functions.files)
        found[other_pdu.WRITE_FILE_RECORD] = _file_writer(functions.files)
    if functions.fifos:
        found[other_pdu.READ_FIFO_QUEUE] = _fifo_reader(functions.fifos)
    if functions.identification:
        objects = {number: encoded(text) for number, text in sorted(functions.identification.items())}
        found[other_pdu.DEVICE_IDENTIFICATION] = _identification(objects)
    return found


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
        for part in parts:
            file = files[part.file]
            words = [int.from_bytes(part.data[at : at + 2], "big") for at in range(0, len(part.data), 2)]
            # One slice, so that nobody sees half of it; and an array takes nothing but another array.
            typecode = getattr(file, "typecode", "")
            file[part.record : part.record + len(words)] = array(typecode, words) if typecode else words
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
