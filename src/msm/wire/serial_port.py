"""The one place that opens serial ports, by pyserial-asyncio. It is imported when a serial endpoint is first used."""

from __future__ import annotations

import asyncio
import errno
import os
import stat
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from msm.wire.channel import LineChannel
from msm.wire.endpoint import Endpoint


async def open_port(endpoint: Endpoint, make_channel: Callable[[], LineChannel], rs485: Any = None) -> LineChannel:
    """Open the serial port of an endpoint, for us alone.

    :param rs485: a `serial.rs485.RS485Settings`, for adapters that switch the direction by RTS.
    :raises OSError: it is not there, somebody else has it, or it cannot be set like that.
    """
    import serial  # noqa: PLC0415
    import serial_asyncio  # noqa: PLC0415

    line = endpoint.line
    if _is_pseudo_terminal(endpoint.path):
        # It has neither parity nor seven bits, and refuses to be set to them.
        line = replace(line, parity="N", bytesize=8, stopbits=1)
    made: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def factory() -> LineChannel:
        channel = make_channel()
        whole = channel.connection_made

        def connection_made(transport: asyncio.BaseTransport) -> None:
            whole(transport)
            if not made.done():
                made.set_result(None)

        channel.connection_made = connection_made  # type: ignore[method-assign]
        return channel

    transport = None
    try:
        transport, channel = await serial_asyncio.create_serial_connection(
            asyncio.get_running_loop(),
            factory,
            endpoint.path,
            baudrate=line.baudrate,
            parity=line.parity,
            bytesize=line.bytesize,
            stopbits=line.stopbits,
            exclusive=True,
        )
        if rs485 is not None:
            transport.serial.rs485_mode = rs485
        transport.serial.reset_input_buffer()  # what came before we listened is nobody's reply
        await made
    except BaseException as error:
        if transport is not None:
            transport.abort()
        if isinstance(error, (serial.SerialException, ValueError)):
            raise _explained(error) from error
        if type(error).__module__ == "termios":  # which is not an OSError, and not to be had on Windows
            raise OSError(error.args[0], f"the port cannot be set like that ({error.args[-1]})") from error
        raise
    opened: LineChannel = channel
    return opened


def _explained(error: Exception) -> OSError:
    number = getattr(error, "errno", None) or 0
    if number in (errno.EAGAIN, errno.EBUSY):
        return OSError(errno.EBUSY, "another program, or another part of this one, has the port open")
    return OSError(number, str(error))


def _is_pseudo_terminal(path: str) -> bool:
    """Is it one end of a pty pair, as simulators and tests use them?"""
    try:
        status = os.stat(path)
    except OSError:
        return False
    # Linux: character devices 136 to 143 are the slave ends (Documentation/admin-guide/devices.txt).
    return stat.S_ISCHR(status.st_mode) and 136 <= os.major(status.st_rdev) <= 143
