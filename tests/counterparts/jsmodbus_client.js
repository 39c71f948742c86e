// A client on jsmodbus: `node jsmodbus_client.js PORT`, or an endpoint in place of the port (and ?ca, cert and key for tls).
"use strict";

const net = require("node:net");
const readline = require("node:readline");
const fs = require("node:fs");
const tls = require("node:tls");
const { ModbusRTUClient, ModbusTCPClient } = require("jsmodbus");

const ENDPOINT = new URL(process.argv[2].includes("://") ? process.argv[2] : `tcp://127.0.0.1:${process.argv[2]}`);
const SCHEME = ENDPOINT.protocol.slice(0, -1);
const AT = { host: "127.0.0.1", port: Number(ENDPOINT.port) };

// A client of this library is for one unit, and notices only a connection that is made after it.
async function connect(unit) {
    const kind = SCHEME === "rtu+tcp" ? ModbusRTUClient : ModbusTCPClient;
    if (SCHEME === "tls") {
        const file = (name) => fs.readFileSync(ENDPOINT.searchParams.get(name));
        const secured = tls.connect({ ...AT, ca: file("ca"), cert: file("cert"), key: file("key") });
        const client = new kind(secured, unit, 5000);
        await new Promise((resolve, reject) => secured.once("secureConnect", resolve).once("error", reject));
        return client;
    }
    const socket = new net.Socket();
    const client = new kind(socket, unit, 5000);
    await new Promise((resolve) => socket.connect(AT, resolve));
    socket.emit("open"); // what a serial port says when it is open, and its client for RTU waits for
    return client;
}

async function ask(device, verb, words) {
    if (verb === "mask" || verb === "readwrite") {
        return "missing";
    }
    const table = words[0];
    const [at, ...values] = words.slice(1).map(Number);
    if (verb === "read") {
        const read = {
            holding: "readHoldingRegisters",
            input: "readInputRegisters",
            coil: "readCoils",
            discrete: "readDiscreteInputs",
        }[table];
        const { response } = await device[read](at, values[0]);
        return Array.from(response.body.valuesAsArray).slice(0, values[0]).map(Number).join(" ");
    }
    if (verb === "single") {
        await (table === "coil"
            ? device.writeSingleCoil(at, values[0] === 1)
            : device.writeSingleRegister(at, values[0]));
    } else {
        await (table === "coil"
            ? device.writeMultipleCoils(at, values.map(Boolean))
            : device.writeMultipleRegisters(at, values));
    }
    return "ok";
}

async function main() {
    const first = await connect(1);
    console.log("ready");
    for await (const line of readline.createInterface({ input: process.stdin })) {
        const [verb, unit, ...words] = line.split(" ");
        const client = unit === "1" ? first : await connect(Number(unit));
        try {
            console.log(await ask(client, verb, words));
        } catch (error) {
            const code = error.response && error.response.body && error.response.body.code;
            console.log(code ? `exception ${code}` : `error ${error.message || error.err}`);
        }
        if (client !== first) {
            client.socket.destroy();
        }
    }
    process.exit(0);
}

main();
