"""Modbus/TCP Security V3.6, section 8.4: what a client may do depends on the role in its certificate."""

from __future__ import annotations

import itertools
import ssl
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from msm import (
    READS,
    WRITES,
    Allow,
    AsyncModbusClient,
    AsyncModbusServer,
    ConnectError,
    DeclarationError,
    DeviceError,
    IllegalAddressError,
    IllegalFunctionError,
    IllegalValueError,
    MemoryStore,
    MemoryVariable,
    ModbusServer,
    WriteError,
)
from tests.certificates import Certificates
from tests.support import FREE, until
from tests.transports.certify import certificate, utf8_string

SECURE = "tls://127.0.0.1:0"
RULES: dict[str | None, list[Allow]] = {
    "Operator": [
        Allow(functions=READS),
        Allow(functions=(6, 16, 22, 23), table="holding", first=2, last=5),
        Allow(functions=(5, 15), table="coil", last=7),
        Allow(functions=[43]),
    ],
    "Wärter": [Allow(functions=(*READS, *WRITES, 23), units=[1])],
    None: [Allow(functions=(3,), first=1, last=4)],
}


@pytest.fixture
def certified(certificates: Certificates, tmp_path: Path) -> Callable[[bytes | None], ssl.SSLContext]:
    """Makes a client's context, with a certificate whose role extension holds these bytes."""
    authority = certificates.authority

    def make(extension: bytes | None) -> ssl.SSLContext:
        pem = tmp_path / "client.pem"
        pem.write_bytes(b"".join(certificate(authority, extension)))
        context = ssl.create_default_context()
        authority.configure_trust(context)
        context.load_cert_chain(pem)
        return context

    return make


def memory() -> MemoryStore:
    return MemoryStore(10, input_registers=4, coils=16, discrete_inputs=8)


async def refused(client: AsyncModbusClient, request: str) -> type[DeviceError] | None:
    try:
        await client.request(bytes.fromhex(request))
    except DeviceError as error:
        return type(error)
    return None


OPERATOR = (
    ("03 0000 000A", None),
    ("01 0000 0010", None),
    ("06 0002 0001", None),
    ("06 0005 0001", None),
    ("06 0001 0001", IllegalFunctionError),
    ("06 0006 0001", IllegalFunctionError),
    ("10 0002 0004 08 0001 0002 0003 0004", None),
    ("10 0004 0003 06 0001 0002 0003", IllegalFunctionError),
    ("16 0005 FFFF 0000", None),
    ("16 0006 FFFF 0000", IllegalFunctionError),
    ("17 0002 0002 0004 0001 02 0007", None),
    ("17 0000 0002 0004 0001 02 0007", IllegalFunctionError),
    ("17 0002 0002 0006 0001 02 0007", IllegalFunctionError),
    ("05 0007 FF00", None),
    ("05 0008 FF00", IllegalFunctionError),
    ("0F 0000 0008 01 FF", None),
    ("0F 0000 0009 02 FF01", IllegalFunctionError),
    ("11", IllegalFunctionError),
    # What a role may ask for is checked like what anybody asks for.
    ("03 000A 0001", IllegalAddressError),
    ("03 0000 0000", IllegalValueError),
    ("06 0002", IllegalValueError),
    ("2B 0E 01 00", IllegalFunctionError),
)


NOBODY = (
    ("03 0001 0004", None),
    ("03 0000 0001", IllegalFunctionError),
    ("06 0001 0001", IllegalFunctionError),
)


@pytest.mark.parametrize(
    ("extension", "table"),
    [
        (utf8_string("Operator"), OPERATOR),
        (utf8_string("Wärter"), (("06 0009 0001", None), ("11", IllegalFunctionError))),
        (utf8_string("operator"), (("03 0001 0001", IllegalFunctionError),)),  # another role, that has no rights
        (utf8_string(""), (("03 0001 0001", IllegalFunctionError),)),
        (
            None,
            (("03 0001 0004", None), ("03 0000 0001", IllegalFunctionError), ("06 0001 0001", IllegalFunctionError)),
        ),
    ],
    ids=["Operator", "not ASCII", "another role", "an empty role", "no role"],
)
async def test_what_a_role_may_do(
    certificates: Certificates,
    certified: Callable[[bytes | None], ssl.SSLContext],
    extension: bytes | None,
    table: tuple[tuple[str, type[DeviceError] | None], ...],
) -> None:
    store = memory()
    async with AsyncModbusServer(store, SECURE, tls=certificates.server, roles=RULES) as server:
        client = AsyncModbusClient(MemoryStore(2), server.endpoint, period=60, tls=certified(extension))
        await client.start(wait=0)
        try:
            for request, expected in table:
                before = store[:]
                assert await refused(client, request) is expected, request
                if expected is not None:
                    assert store[:] == before
        finally:
            await client.stop()


@pytest.mark.parametrize("extension", [b"\x13\x08Operator", b"\x0c\x09Operator", b"\x0c", b"", b"\x0c\x02\xff\xff"])
async def test_a_role_that_cannot_be_read_is_not_served(
    certificates: Certificates, certified: Callable[[bytes | None], ssl.SSLContext], extension: bytes
) -> None:
    async with AsyncModbusServer(memory(), SECURE, tls=certificates.server, roles=RULES) as server:
        client = AsyncModbusClient(MemoryStore(2), server.endpoint, tls=certified(extension))
        with pytest.raises(ConnectError):
            await client.start(wait=0.4)


async def test_a_long_role(certificates: Certificates, certified: Callable[[bytes | None], ssl.SSLContext]) -> None:
    role = "long " * 50
    extension = b"\x0c\x81\xfa" + role.encode()
    rules: dict[str | None, list[Allow]] = {role: [Allow(functions=READS)]}
    async with (
        AsyncModbusServer(memory(), SECURE, tls=certificates.server, roles=rules) as server,
        AsyncModbusClient(MemoryStore(2), server.endpoint, tls=certified(extension)) as client,
    ):
        assert client.state.value == "online"


async def test_the_client_is_told_what_it_may_not(
    certificates: Certificates, certified: Callable[[bytes | None], ssl.SSLContext]
) -> None:
    mem = MemoryStore(10)
    mem.SPEED = MemoryVariable.word(2)
    mem.LIMIT = MemoryVariable.word(8)
    async with (
        AsyncModbusServer(memory(), SECURE, tls=certificates.server, roles=RULES) as server,
        AsyncModbusClient(mem, server.endpoint, tls=certified(utf8_string("Operator"))) as client,
    ):
        mem.SPEED = 5
        mem.LIMIT = 5
        with pytest.raises(WriteError, match=r"LIMIT: .*exception 01"):
            await client.flush()
        assert client.ledger.acknowledged == 1


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"functions": ()}, "there are no functions"),
        ({"functions": (0,)}, "0 is not a function code"),
        ({"functions": (3,), "table": "holdings"}, "table='holdings' is none of"),
        ({"functions": (3,), "first": 5, "last": 4}, "first=5, last=4"),
    ],
)
def test_rights_that_are_none(keywords: dict[str, Any], message: str) -> None:
    with pytest.raises(DeclarationError, match=message):
        Allow(**keywords)


def test_roles_need_certificates(certificates: Certificates, monkeypatch: pytest.MonkeyPatch) -> None:
    asks_for_none = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    for endpoint, keywords, message in (
        (FREE, {}, "needs a tls endpoint"),
        (SECURE, {"tls": asks_for_none}, "CERT_REQUIRED"),
        ("tls://127.0.0.1:0?cert=server.pem", {}, "give ca= in the endpoint"),
    ):
        given: Any = keywords
        with pytest.raises(DeclarationError, match=message):
            ModbusServer(memory(), endpoint, roles=RULES, **given)
    for roles, message in (([], "not a mapping"), ({5: []}, "5 is neither"), ({"a": [3]}, "not a list of Allow")):
        given = roles
        with pytest.raises(DeclarationError, match=message):
            ModbusServer(memory(), SECURE, tls=certificates.server, roles=given)
    for name in [name for name in sys.modules if name.partition(".")[0] == "cryptography"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "cryptography", None)
    with pytest.raises(DeclarationError, match=r"pip install 'modbus-shared-memory\[roles\]'"):
        ModbusServer(memory(), SECURE, tls=certificates.server, roles=RULES)


async def test_certificates_that_are_not_there_are_told_at_once(tmp_path: Path) -> None:
    client = AsyncModbusClient(memory(), f"tls://127.0.0.1:9?ca={tmp_path / 'none.pem'}")
    with pytest.raises(DeclarationError, match=r"none\.pem"):
        await client.start(wait=0)


async def test_certificates_that_are_being_renewed_do_not_end_the_client(
    certificates: Certificates, tmp_path: Path
) -> None:
    ca = tmp_path / "ca.pem"
    certificates.authority.cert_pem.write_to_path(str(ca))
    own = tmp_path / "own.pem"
    certificates.authority.issue_cert("panel.example").private_key_and_cert_chain_pem.write_to_path(str(own))
    async with AsyncModbusServer(memory(), SECURE, tls=certificates.server) as server:
        client = AsyncModbusClient(
            memory(), f"{server.endpoint}?ca={ca}&cert={own}&key={own}", backoff=lambda: itertools.repeat(0.01)
        )
        await client.start()
        text = own.read_bytes()
        own.write_bytes(b"half a certificate")
        for peer in list(server._peers):
            peer.abort()
        await until(lambda: "own.pem" in client.diagnose())
        assert client.state.value == "offline"
        own.write_bytes(text)
        await until(lambda: client.state.value == "online")
        await client.stop()
