"""The shortest way to the values that programs read and assign most: bits, whole numbers, floats.

What a codec does in several steps for any value is done here in as few as there can be, and gives the same. Each read
looks into the buffer once, in one step of the interpreter: so nobody needs a lock, and nobody sees half of a value.
Each assignment changes the buffer in one step, under the lock.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from msm.memory.codec import BoolCodec, Codec, FloatCodec, IntCodec

if TYPE_CHECKING:
    from msm.memory.image import Image
    from msm.memory.journal import Region, Span

Getter = Callable[[Any], Any]
Setter = Callable[[Any], None]
Encoder = Callable[[Any, str], bytes]

_WHOLE = {1: "B", 2: "H", 4: "I", 8: "Q"}
_FLOAT = {2: "e", 4: "f", 8: "d"}


def getter(
    codec: Codec[Any], buffer: bytearray, at: int, special: list[object], otherwise: Callable[[], Any]
) -> Getter | None:
    """Reads a value from its place in the buffer; None where there is no shorter way.

    :param special: where it is not empty, `otherwise` is to be asked.
    """
    if type(codec) is BoolCodec:
        bit = codec.bit

        def get_bit(_store: object) -> bool:
            return bool(otherwise()) if special else buffer[at] & bit != 0

        return get_bit
    if type(codec) is IntCodec and codec.rearranges:
        return _shuffled_whole(codec, buffer, at, special, otherwise)
    if type(codec) is FloatCodec and codec.rearranges:
        return _shuffled_float(codec, buffer, at, special, otherwise)
    if type(codec) is IntCodec or type(codec) is FloatCodec:
        unpack = _struct(codec).unpack_from

        def get(_store: object) -> Any:
            return otherwise() if special else unpack(buffer, at)[0]

        return get
    return None


def _struct(codec: IntCodec | FloatCodec) -> struct.Struct:
    """The whole value, where its bytes run in one direction."""
    order = "<" if codec.byteorder == "little" else ">"
    if isinstance(codec, FloatCodec):
        return struct.Struct(order + _FLOAT[codec.size])
    letter = _WHOLE[codec.size]
    return struct.Struct(order + (letter.lower() if codec.signed else letter))


def _words(codec: IntCodec | FloatCodec) -> struct.Struct:
    """Its words, where these run in one direction and the bytes in them in the other."""
    return struct.Struct(("<" if codec.byteorder == "little" else ">") + f"{codec.size // 2}H")


def _shuffled_whole(
    codec: IntCodec, buffer: bytearray, at: int, special: list[object], otherwise: Callable[[], Any]
) -> Getter:
    low_first = codec.byteorder == "big"  # words from the low one, bytes from the high one; or the other way round
    letters = ["H"] * (codec.size // 2)
    if codec.signed:
        letters[-1 if low_first else 0] = "h"
    unpack = struct.Struct(("<" if codec.byteorder == "little" else ">") + "".join(letters)).unpack_from
    if codec.size == 4 and low_first:

        def get_low_first(_store: object) -> Any:
            if special:
                return otherwise()
            low, high = unpack(buffer, at)
            return high << 16 | low

        return get_low_first
    if codec.size == 4:

        def get_high_first(_store: object) -> Any:
            if special:
                return otherwise()
            high, low = unpack(buffer, at)
            return high << 16 | low

        return get_high_first

    def get_long(_store: object) -> Any:
        if special:
            return otherwise()
        a, b, c, d = unpack(buffer, at)
        return d << 48 | c << 32 | b << 16 | a if low_first else a << 48 | b << 32 | c << 16 | d

    return get_long


def _shuffled_float(
    codec: FloatCodec, buffer: bytearray, at: int, special: list[object], otherwise: Callable[[], Any]
) -> Getter:
    unpack, pack = _words(codec).unpack_from, struct.Struct(f">{codec.size // 2}H").pack
    value_of = struct.Struct(">" + _FLOAT[codec.size]).unpack
    low_first = codec.byteorder == "big"

    def get(_store: object) -> Any:
        if special:
            return otherwise()
        words = unpack(buffer, at)
        return value_of(pack(*(words[::-1] if low_first else words)))[0]

    return get


def encoder(codec: Codec[Any]) -> Encoder:
    """The bytes of a value, and the codec's own errors for what is none."""
    slow = codec.encode
    if type(codec) is BoolCodec:
        on, off = bytes((codec.bit,)), b"\x00"
        return lambda value, name: on if value is True else off if value is False else slow(value, name)
    if type(codec) is IntCodec:
        return _whole_encoder(codec, slow)
    if type(codec) is FloatCodec:
        return _float_encoder(codec, slow)
    return slow


def _whole_encoder(codec: IntCodec, slow: Encoder) -> Encoder:
    low, high = codec.limits
    if not codec.rearranges:
        pack = _struct(codec).pack

        def encode(value: Any, name: str) -> bytes:
            return pack(value) if type(value) is int and low <= value <= high else slow(value, name)

        return encode
    pack = _words(codec).pack
    low_first = codec.byteorder == "big"
    if codec.size == 4:

        def encode_words(value: Any, name: str) -> bytes:
            if type(value) is not int or not low <= value <= high:
                return slow(value, name)
            least, most = value & 0xFFFF, value >> 16 & 0xFFFF
            return pack(least, most) if low_first else pack(most, least)

        return encode_words

    def encode_long(value: Any, name: str) -> bytes:
        if type(value) is not int or not low <= value <= high:
            return slow(value, name)
        words = (value & 0xFFFF, value >> 16 & 0xFFFF, value >> 32 & 0xFFFF, value >> 48 & 0xFFFF)
        return pack(*words) if low_first else pack(*words[::-1])

    return encode_long


def _float_encoder(codec: FloatCodec, slow: Encoder) -> Encoder:
    shuffled = codec.rearranges
    pack = struct.Struct(">" + _FLOAT[codec.size]).pack if shuffled else _struct(codec).pack
    unpack, pack_words = struct.Struct(f">{codec.size // 2}H").unpack, _words(codec).pack
    low_first = codec.byteorder == "big"

    def encode(value: Any, name: str) -> bytes:
        if type(value) is not float:
            return slow(value, name)
        try:
            data = pack(value)
        except OverflowError:
            return slow(value, name)  # which says so
        if shuffled:
            words = unpack(data)
            return pack_words(*(words[::-1] if low_first else words))
        return data

    return encode


def assigner(codec: Codec[Any], image: Image, span: Span, region: Region) -> Setter:
    """Assigns a variable; `Image.assign()` does it where somebody is concerned, and says what is wrong with a value.

    The functions within it end with the same lines: a function for these would cost more than they do.
    """
    encode, name = encoder(codec), span.name

    def otherwise(value: Any) -> None:
        image.assign(span, region, encode(value, name))

    if span.command:
        return otherwise  # each one counts
    if region.bits == (1 << 8 * region.size) - 1:
        if type(codec) is IntCodec and not codec.rearranges:
            return _whole_assigner(codec, image, span, region, otherwise)
        if type(codec) is IntCodec and codec.size == 4:
            return _shuffled_assigner(codec, image, span, region, otherwise)
        return _bytes_assigner(image, span, region, encode)
    if type(codec) is BoolCodec:
        return _bit_assigner(codec.bit, image, span, region, otherwise)
    return otherwise


def _whole_assigner(codec: IntCodec, image: Image, span: Span, region: Region, otherwise: Setter) -> Setter:
    buffer, lock, concerned, backlog, at = image.buffer, image.lock, image.concerned, image.backlog, region.offset
    journals, note, ring = image.journals, image.note, image.ring
    (low, high), pack_into = codec.limits, _struct(codec).pack_into

    def assign(value: Any) -> None:
        if type(value) is int and low <= value <= high:
            with lock:
                if not concerned:
                    pack_into(buffer, at, value)
                    if backlog.last is not span:
                        backlog.mark(span, region)
                    if not journals:
                        return
                    note(span)
                    done = True
                else:
                    done = False
            if done:
                ring()
                return
        otherwise(value)

    return assign


def _shuffled_assigner(codec: IntCodec, image: Image, span: Span, region: Region, otherwise: Setter) -> Setter:
    """Of 32 bits whose words run in one direction and the bytes in them in the other."""
    buffer, lock, concerned, backlog, at = image.buffer, image.lock, image.concerned, image.backlog, region.offset
    journals, note, ring = image.journals, image.note, image.ring
    low, high = (each >> 16 for each in codec.limits)  # small numbers are compared faster
    order, upper = "<" if codec.byteorder == "little" else ">", "h" if codec.signed else "H"
    low_first = codec.byteorder == "big"
    pack_into = struct.Struct(f"{order}H{upper}" if low_first else f"{order}{upper}H").pack_into

    def assign(value: Any) -> None:
        if type(value) is int and low <= (most := value >> 16) <= high:
            with lock:
                if not concerned:
                    if low_first:
                        pack_into(buffer, at, value & 0xFFFF, most)
                    else:
                        pack_into(buffer, at, most, value & 0xFFFF)
                    if backlog.last is not span:
                        backlog.mark(span, region)
                    if not journals:
                        return
                    note(span)
                    done = True
                else:
                    done = False
            if done:
                ring()
                return
        otherwise(value)

    return assign


def _bit_assigner(bit: int, image: Image, span: Span, region: Region, otherwise: Setter) -> Setter:
    buffer, lock, concerned, backlog, at = image.buffer, image.lock, image.concerned, image.backlog, region.offset
    journals, note, ring = image.journals, image.note, image.ring
    others = 0xFF & ~bit

    def assign(value: Any) -> None:
        if value is True or value is False:
            with lock:
                if not concerned:
                    buffer[at] = buffer[at] | bit if value else buffer[at] & others
                    if backlog.last is not span:
                        backlog.mark(span, region)
                    if not journals:
                        return
                    note(span)
                    done = True
                else:
                    done = False
            if done:
                ring()
                return
        otherwise(value)

    return assign


def _bytes_assigner(image: Image, span: Span, region: Region, encode: Encoder) -> Setter:
    buffer, lock, concerned, backlog, at = image.buffer, image.lock, image.concerned, image.backlog, region.offset
    journals, note, ring = image.journals, image.note, image.ring
    name, end = span.name, at + region.size

    def assign(value: Any) -> None:
        data = encode(value, name)
        with lock:
            if not concerned:
                buffer[at:end] = data
                if backlog.last is not span:
                    backlog.mark(span, region)
                if not journals:
                    return
                note(span)
                done = True
            else:
                done = False
        if done:
            ring()
        else:
            image.assign(span, region, data)

    return assign
