"""A third party's client, pysunspec2, reads a SunSpec device that we serve."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import sunspec2.modbus.client as sunspec  # type: ignore[import-untyped]

from msm import MemoryStore, ModbusServer

MAP = Path(__file__).parents[1] / "examples" / "maps" / "sunspec_inverter.toml"


@pytest.fixture
def inverter() -> MemoryStore:
    inverter = MemoryStore.load(MAP)
    state = inverter.variables()["St"].arguments["enum_type"]
    event = inverter.variables()["Evt1"].arguments["enum_type"]
    inverter.provide(
        SunS="SunS",
        common_ID=1, common_L=66, Mn="Acme Solar", Md="Sunny 8000", Opt="opt_a", Vr="1.2.3", SN="SN-000815", DA=1,
        inverter_ID=103, inverter_L=50,
        A=1163, AphA=388, AphB=387, AphC=388, A_SF=-2,
        PPVphAB=None, PPVphBC=None, PPVphCA=None, PhVphA=2302, PhVphB=2301, PhVphC=2299, V_SF=-1,
        W=802, W_SF=1, Hz=4999, Hz_SF=-2, VA=803, VA_SF=1, VAr=-12, VAr_SF=1, PF=-998, PF_SF=-1,
        WH=1234567, WH_SF=0, DCA=None, DCA_SF=None, DCV=6120, DCV_SF=-1, DCW=820, DCW_SF=1,
        TmpCab=-35, TmpSnk=None, TmpTrns=None, TmpOt=None, Tmp_SF=-1,
        St=state.MPPT, StVnd=None, Evt1=event.OVER_TEMP | event.GROUND_FAULT,
        Evt2=0, EvtVnd1=0, EvtVnd2=0, EvtVnd3=0, EvtVnd4=0,
        end_ID=0xFFFF, end_L=0,
    )  # fmt: skip
    return inverter


@contextmanager
def scanned(inverter: MemoryStore) -> Iterator[Any]:
    with ModbusServer(inverter, "tcp://127.0.0.1:0") as server:
        port = urlsplit(server.endpoint).port
        device = sunspec.SunSpecModbusClientDeviceTCP(slave_id=1, ipaddr="127.0.0.1", ipport=port, timeout=5.0)
        try:
            device.scan()
            device.connect()
            yield device
        finally:
            device.close()
            device.client.close()


def test_scan_finds_the_models(inverter: MemoryStore) -> None:
    with scanned(inverter) as device:
        assert device.base_addr == 40000
        assert {key for key in device.models if isinstance(key, int)} == {1, 103}
        assert not device.common[0].error_info
        assert not device.models[103][0].error_info


def test_common_model(inverter: MemoryStore) -> None:
    with scanned(inverter) as device:
        common = device.common[0]
        assert (common.ID.value, common.L.value) == (1, 66)
        assert (common.Mn.value, common.Md.value) == ("Acme Solar", "Sunny 8000")
        assert (common.Opt.value, common.Vr.value, common.SN.value) == ("opt_a", "1.2.3", "SN-000815")
        assert common.DA.value == 1


def test_values_with_scale_factors(inverter: MemoryStore) -> None:
    with scanned(inverter) as device:
        model = device.models[103][0]
        assert (model.W.value, model.W_SF.value, model.W.cvalue) == (802, 1, 8020)
        assert model.A.cvalue == pytest.approx(11.63)
        assert model.PhVphA.cvalue == pytest.approx(230.2)
        assert model.Hz.cvalue == pytest.approx(49.99)
        assert model.VAr.cvalue == -120
        assert model.PF.cvalue == pytest.approx(-99.8)
        assert model.WH.value == 1234567
        assert model.DCV.cvalue == pytest.approx(612.0)
        assert model.TmpCab.cvalue == pytest.approx(-3.5)
        assert model.St.value == 4
        assert model.Evt1.value == 0x81


def test_what_the_device_does_not_have_is_absent_for_both(inverter: MemoryStore) -> None:
    with scanned(inverter) as device:
        model = device.models[103][0]
        for name in ("PPVphAB", "DCA", "DCA_SF", "TmpSnk", "StVnd"):
            assert inverter[name] is None
            assert model.points[name].value is None, name


def test_an_assignment_is_read_at_once(inverter: MemoryStore) -> None:
    with scanned(inverter) as device:
        inverter.provide(W=-5)
        device.models[103][0].W.read()
        assert device.models[103][0].W.value == -5


def test_it_writes_what_may_be_written_and_nothing_else(inverter: MemoryStore) -> None:
    with scanned(inverter) as device:
        device.common[0].DA.value = 7
        device.common[0].DA.write()
        assert inverter.DA == 7
        device.models[103][0].W.value = 1
        with pytest.raises(Exception, match="Modbus exception"):
            device.models[103][0].W.write()
        assert inverter.W == 802
