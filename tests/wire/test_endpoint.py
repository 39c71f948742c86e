"""Endpoints as users write them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from msm import DeclarationError
from msm.wire.endpoint import Endpoint


@pytest.mark.parametrize(
    ("text", "host", "port", "shown"),
    [
        ("tcp://localhost", "localhost", 502, "tcp://localhost:502"),
        ("tcp://localhost:5020", "localhost", 5020, "tcp://localhost:5020"),
        ("tcp://192.168.0.10:502", "192.168.0.10", 502, "tcp://192.168.0.10:502"),
        ("tcp://[::1]:0", "::1", 0, "tcp://[::1]:0"),
        ("tcp://plc/", "plc", 502, "tcp://plc:502"),
        ("TCP://PLC:65535", "plc", 65535, "tcp://plc:65535"),
        (" tcp://plc:1 ", "plc", 1, "tcp://plc:1"),
        ("tcp://0.0.0.0:502", "0.0.0.0", 502, "tcp://0.0.0.0:502"),
    ],
)
def test_right_ones(text: str, host: str, port: int, shown: str) -> None:
    endpoint = Endpoint.parse(text)
    assert (endpoint.scheme, endpoint.host, endpoint.port, str(endpoint)) == ("tcp", host, port, shown)
    assert Endpoint.parse(str(endpoint)) == endpoint
    assert str(endpoint.at_port(99)).endswith(":99")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "does not begin with tcp://"),
        ("localhost", "does not begin with tcp://"),
        ("localhost:502", "does not begin with tcp://"),
        ("http://plc:502", "does not begin with tcp://"),
        ("tcp:plc:502", "does not begin with tcp://"),
        ("tcp://", "no host"),
        ("tcp://:502", "no host"),
        ("tcp://plc:x", "port"),
        ("tcp://plc:65536", "port"),
        ("tcp://plc:-1", "port"),
        ("tcp://plc:502/unit", "more than a host and a port"),
        ("tcp://plc:502?unit=1", "more than a host and a port"),
        ("tcp://plc:502#1", "more than a host and a port"),
        ("tcp://me@plc:502", "more than a host and a port"),
        ("tcp://[::1", "endpoint"),
        (None, "NoneType"),
        (502, "int"),
        (b"tcp://plc", "bytes"),
    ],
)
def test_wrong_ones_say_which_part_and_show_a_right_one(text: Any, told: str) -> None:
    with pytest.raises(DeclarationError) as caught:
        Endpoint.parse(text)
    message = str(caught.value)
    assert told in message
    assert repr(text) in message
    assert "tcp://192.168.0.10:502" in message


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("tls://plc", "tls://plc:802"),
        ("udp://[::1]:5", "udp://[::1]:5"),
        ("rtu+tcp://plc", "rtu+tcp://plc:502"),
        ("ascii+tcp://plc:1", "ascii+tcp://plc:1"),
        ("memory://press", "memory://press"),
        ("rtu:///dev/ttyS0", "rtu:///dev/ttyS0?baudrate=19200&parity=E&bytesize=8&stopbits=1"),
        ("rtu:///dev/ttyS0?parity=N", "rtu:///dev/ttyS0?baudrate=19200&parity=N&bytesize=8&stopbits=2"),
        ("ascii://COM3?baudrate=9600", "ascii://COM3?baudrate=9600&parity=E&bytesize=7&stopbits=1"),
    ],
)
def test_other_transports(text: str, shown: str) -> None:
    assert str(Endpoint.parse(text)) == shown
    assert Endpoint.parse(shown) == Endpoint.parse(text)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("rtu://", "no serial port"),
        ("rtu:///dev/ttyS0?baudrate=fast", "baudrate=fast is not a number"),
        ("rtu:///dev/ttyS0?parity=X", "N, E or O"),
        ("rtu:///dev/ttyS0?bytesize=7", "RTU needs all eight"),
        ("ascii:///dev/ttyS0?stopbits=3", "1, 1.5 or 2"),
        ("ascii:///dev/ttyS0?speed=1", "'speed' is none of"),
        ("tls://plc?cart=x", "'cart' is none of ca, cert, key"),
        ("udp://plc?ca=x", "more than a host and a port"),
        ("memory://", "needs a name"),
        ("memory://a?b=1", "nothing else"),
    ],
)
def test_other_transports_say_which_part_is_wrong_and_show_a_right_one(text: str, told: str) -> None:
    with pytest.raises(DeclarationError) as caught:
        Endpoint.parse(text)
    assert told in str(caught.value)
    assert f"a right one is '{text.partition(':')[0]}://" in str(caught.value)


@given(st.one_of(st.text(max_size=30), st.text(max_size=30).map(lambda tail: f"tcp://{tail}")))
def test_any_text_is_an_endpoint_or_a_declaration_error(text: str) -> None:
    try:
        endpoint = Endpoint.parse(text)
    except DeclarationError:
        return
    assert endpoint.host
    assert 0 <= endpoint.port <= 65535
