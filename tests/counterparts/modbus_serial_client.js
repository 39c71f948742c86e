// A client on modbus-serial: `node modbus_serial_client.js PORT`, or an endpoint in place of the port.
"use strict";

const readline = require("node:readline");
const ModbusRTU = require("modbus-serial");

const client = new ModbusRTU();
client.setTimeout(5000);

const read = {
    holding: (at, count) => client.readHoldingRegisters(at, count),
    input: (at, count) => client.readInputRegisters(at, count),
    coil: (at, count) => client.readCoils(at, count),
    discrete: (at, count) => client.readDiscreteInputs(at, count),
};

async function ask(verb, words) {
    if (verb === "mask") {
        await client.maskWriteRegister(...words.map(Number));
        return "ok";
    }
    if (verb === "readwrite") {
        const [from, count, to, ...values] = words.map(Number);
        return (await client.readWriteRegisters(from, count, to, values.length, values)).data.join(" ");
    }
    const table = words[0];
    const [at, ...values] = words.slice(1).map(Number);
    if (verb === "read") {
        const { data } = await read[table](at, values[0]);
        return data.slice(0, values[0]).map(Number).join(" "); // bits come in whole bytes
    }
    if (verb === "single") {
        await (table === "coil" ? client.writeCoil(at, values[0] === 1) : client.writeRegister(at, values[0]));
    } else {
        await (table === "coil" ? client.writeCoils(at, values.map(Boolean)) : client.writeRegisters(at, values));
    }
    return "ok";
}

async function main() {
    const where = process.argv[2];
    const port = Number(where.split(":").pop());
    const connect = where.startsWith("rtu+tcp") ? "connectTelnet" : where.startsWith("udp") ? "connectUDP" : "connectTCP";
    await client[connect]("127.0.0.1", { port });
    console.log("ready");
    for await (const line of readline.createInterface({ input: process.stdin })) {
        const [verb, unit, ...words] = line.split(" ");
        client.setID(Number(unit));
        try {
            console.log(await ask(verb, words));
        } catch (error) {
            console.log(error.modbusCode ? `exception ${error.modbusCode}` : `error ${error.message}`);
        }
    }
    client.close(() => process.exit(0));
}

main();
