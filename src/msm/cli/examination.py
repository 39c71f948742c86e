"""One check of a device after the other, and in plain words what is wrong and what to try."""

from __future__ import annotations

import socket
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Literal, TypeAlias
from urllib.parse import urlsplit

from msm import (
    DeviceError,
    IllegalFunctionError,
    LinkError,
    LinkState,
    LinkTimeoutError,
    MemoryStore,
    Message,
    ModbusClient,
    MsmError,
)
from msm.cli.device import ATTEMPTS

Verdict: TypeAlias = Literal["ok", "hint", "wrong"]

OTHER_UNITS = (1, 2, 255, 0)  # where a device most often is
PERIOD = 0.05  # seconds from one poll to the next while answers are timed
ANSWERS = 20  # that are timed, unless the device is slow
TIMED = 3.0  # seconds that this may take
LOOK = 0.02  # seconds between two looks at the state of the link

LISTED = 8  # names in a finding

REMEDY_FOR_SILENCE = "is the unit id right, does another program hold its only connection, is --timeout long enough?"
REMEDY_FOR_READS = "is the map off by one there (address_base), is it the right table, is it of this model?"
REMEDY_FOR_BITS = "let one side own each word: single bits are written by reading and writing back their word"

# Function 22 at the last address, changing no bit: a device that has the function refuses the address, or does nothing.
MASK_WRITE_OF_NOTHING = bytes.fromhex("16 ffff ffff 0000")


@dataclass(frozen=True)
class Finding:
    """What a check has found, and what to try where it is not well."""

    check: str
    verdict: Verdict
    told: str
    remedy: str = ""


@dataclass
class Examination:
    """The checks of one device; the first that fails for good is the last."""

    store: MemoryStore
    endpoint: str
    unit: int
    timeout: float
    of_map: bool
    """Is every variable to be there?"""
    seen: list[Message] = field(default_factory=list)
    """What was sent and received, oldest first."""

    def findings(self) -> Iterator[Finding]:
        """One check after the other.

        :raises DeclarationError: the endpoint is none.
        """
        client = ModbusClient(
            self.store,
            self.endpoint,
            unit=self.unit,
            timeout=self.timeout,
            period=PERIOD,
            poll="declared",
            trace=self.seen.append,
        )
        name = self._name(client.endpoint)
        if name is not None:
            yield name
            if name.verdict == "wrong":
                return
        client.run(wait=0)
        try:
            answers = self._wait_until_online(client)
            yield from self._link(client, answers=answers)
            if answers:
                yield from self._exchange(client)
        finally:
            client.kill()
        if not answers and self._connected:
            yield self._other_units()

    def _name(self, endpoint: str) -> Finding | None:
        """Is the name of the host known? Nothing where there is none."""
        parts = urlsplit(endpoint)
        if parts.port is None or parts.hostname is None or _is_address(parts.hostname):
            return None
        try:
            found = socket.getaddrinfo(parts.hostname, parts.port)
        except OSError as error:
            remedy = "is it written right? Does the address of the device, like 192.168.0.10, work in its place?"
            return Finding("name", "wrong", f"{parts.hostname} is not known ({error.strerror})", remedy)
        addresses = dict.fromkeys(str(entry[4][0]) for entry in found)
        return Finding("name", "ok", f"{parts.hostname} is {', '.join(addresses)}")

    def _wait_until_online(self, client: ModbusClient) -> bool:
        deadline = time.monotonic() + ATTEMPTS * self.timeout
        while client.state is not LinkState.ONLINE and time.monotonic() < deadline:
            time.sleep(LOOK)
        return client.state is LinkState.ONLINE

    @property
    def _connected(self) -> bool:
        return any(message.request for message in self.seen)

    def _link(self, client: ModbusClient, *, answers: bool) -> Iterator[Finding]:
        said = client.diagnose().split("\n")[0].replace(f"{client.endpoint}: ", "")
        told, remedy = _question_apart(said)
        if not self._connected:
            yield Finding("port", "wrong", told, remedy)
            return
        if urlsplit(client.endpoint).scheme != "udp":  # which knows no connections
            yield Finding("port", "ok", f"connected to {client.endpoint}")
        if answers:
            yield Finding("answer", "ok", f"unit {self.unit} answers")
        elif all(message.request for message in self.seen.copy()):
            yield Finding("answer", "wrong", f"unit {self.unit} does not answer", REMEDY_FOR_SILENCE)
        else:
            yield Finding("answer", "wrong", f"unit {self.unit}: {told}", remedy)

    def _exchange(self, client: ModbusClient) -> Iterator[Finding]:
        deadline = time.monotonic() + TIMED
        try:
            while len(self._durations()) < ANSWERS and time.monotonic() < deadline:
                client.refresh(TIMED + ATTEMPTS * self.timeout)
        except LinkTimeoutError as error:
            yield Finding("answer", "wrong", str(error), "is the line or the network sound? A longer --timeout?")
        yield self._reads()
        yield self._timing()
        yield self._mask_write(client)
        yield self._identification(client)
        yield from self._diagnosis(client)

    def _reads(self) -> Finding:
        readable = [name for name, variable in self.store.variables().items() if variable.access != "wo"]
        infos = [self.store.info(name) for name in readable]
        given = [info.name for info in infos if info.quality == "good"]
        refused = [info for info in infos if info.quality != "good"]
        if not refused:
            return Finding("reads", "ok", f"gives all that was asked for: {_listed(given)}")
        cause = refused[0].error.partition(": ")[2] or refused[0].error or "no answer"
        told = f"gives {_listed(given) or 'nothing'}; refuses {_listed([info.name for info in refused])} ({cause})"
        if self.of_map or not given:
            return Finding("reads", "wrong" if self.of_map else "hint", told, REMEDY_FOR_READS)
        return Finding("reads", "ok", told)

    def _durations(self) -> list[float]:
        """How long each answer took, in seconds."""
        durations, asked = [], None
        for message in self.seen.copy():
            if message.request:
                asked = message.at
            elif asked is not None:
                durations.append(message.at - asked)
                asked = None
        return durations

    def _timing(self) -> Finding:
        durations = self._durations()
        asked = sum(message.request for message in self.seen.copy()[:-1])  # the last one may be on its way
        usually, longest = statistics.median(durations), max(durations)
        told = f"{len(durations)} answers, usually in {_ms(usually)}, at most {_ms(longest)}"
        if asked > len(durations):
            told += f"; {asked - len(durations)} of {asked} requests were not answered in {self.timeout:g} s"
            return Finding("timing", "hint", told, "a longer --timeout, or is the line or the network disturbed?")
        if longest > self.timeout / 2:
            return Finding("timing", "hint", told, f"a longer --timeout: {self.timeout:g} s is close to that")
        return Finding("timing", "ok", told)

    def _mask_write(self, client: ModbusClient) -> Finding:
        try:
            client.request(MASK_WRITE_OF_NOTHING, self.timeout)
        except IllegalFunctionError:
            return Finding("bits", "hint", "has no mask write (function 22)", REMEDY_FOR_BITS)
        except DeviceError:
            pass  # the address is refused, so the function is known
        except LinkError:  # it drops what it does not know, or hangs up
            return Finding("bits", "hint", "does not answer a mask write (function 22)", REMEDY_FOR_BITS)
        return Finding("bits", "ok", "has mask write (function 22): single bits are written as such")

    def _identification(self, client: ModbusClient) -> Finding:
        try:
            objects = client.read_device_identification(ATTEMPTS * self.timeout)
        except MsmError as error:
            return Finding("identity", "ok", f"does not say what it is ({error})")
        return Finding("identity", "ok", ", ".join(filter(None, objects.values())) or "says that it is nothing")

    def _diagnosis(self, client: ModbusClient) -> Iterator[Finding]:
        """What the client itself has noticed meanwhile, beside what it was refused."""
        for line in client.diagnose().split("\n"):
            said = line.removeprefix(f"{client.endpoint}: ")
            if "is refused" in said:
                continue
            told, remedy = _question_apart(said)
            yield Finding("in all", "ok" if said.startswith("all is well") else "hint", told, remedy)

    def _other_units(self) -> Finding:
        """Which other unit answers, where the one that was asked does not."""
        shares_a_line = urlsplit(self.endpoint).scheme not in ("tcp", "tls", "udp")
        units = [unit for unit in OTHER_UNITS if unit != self.unit and (unit or not shares_a_line)]
        client = ModbusClient({unit: MemoryStore(1) for unit in units}, self.endpoint, timeout=self.timeout)
        deadline = time.monotonic() + ATTEMPTS * self.timeout
        client.run(wait=0)
        try:
            while LinkState.ONLINE not in client.states.values() and time.monotonic() < deadline:
                time.sleep(LOOK)
            found = [unit for unit, state in client.states.items() if state is LinkState.ONLINE]
        finally:
            client.kill()
        if found:
            return Finding("unit", "wrong", f"unit {found[0]} answers, unit {self.unit} does not", f"--unit {found[0]}")
        tried = ", ".join(map(str, units))
        return Finding("unit", "hint", f"units {tried} do not answer either", "msm scan, which tries all of them")


def _question_apart(said: str) -> tuple[str, str]:
    """What is the case, and the question after it, if there is one."""
    told, _, question = said.rpartition(": ")
    return (told, question) if told and question.endswith("?") else (said, "")


def _is_address(host: str) -> bool:
    try:
        ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return ", ".join(names[:LISTED]) + more


def _ms(seconds: float) -> str:
    return f"{1000 * seconds:.1f} ms"
