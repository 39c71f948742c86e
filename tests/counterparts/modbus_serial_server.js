// A server on modbus-serial: `node modbus_serial_server.js PORT`.
"use strict";

const { ServerTCP } = require("modbus-serial");
const { tables, obey } = require("./memory.js");

function cell(table, address) {
    if (address >= tables[table].length) {
        throw Object.assign(new Error("no such address"), { modbusErrorCode: 2 });
    }
    return address;
}

const get = (table) => (address) => tables[table][cell(table, address)];
const put = (table) => (address, value) => {
    tables[table][cell(table, address)] = Number(value);
};

const server = new ServerTCP(
    {
        getHoldingRegister: get("holding"),
        getInputRegister: get("input"),
        getCoil: get("coil"),
        getDiscreteInput: get("discrete"),
        setRegister: put("holding"),
        setCoil: put("coil"),
    },
    { host: "127.0.0.1", port: Number(process.argv[2]), unitID: 1 },
);
server.on("socketError", () => {});
server.on("initialized", () => console.log("ready"));
obey((table, address) => tables[table][address], (table, address, value) => (tables[table][address] = value));
