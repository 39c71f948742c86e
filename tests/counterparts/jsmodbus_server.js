// A server on jsmodbus: `node jsmodbus_server.js PORT`.
"use strict";

const net = require("node:net");
const { ModbusTCPServer } = require("jsmodbus");
const { tables, obey } = require("./memory.js");

const buffers = {
    holding: Buffer.alloc(2 * tables.holding.length),
    input: Buffer.alloc(2 * tables.input.length),
    coils: Buffer.alloc(tables.coil.length / 8),
    discrete: Buffer.alloc(tables.discrete.length / 8),
};

function get(table, address) {
    if (table === "holding" || table === "input") {
        return buffers[table].readUInt16BE(2 * address);
    }
    const bits = table === "coil" ? buffers.coils : buffers.discrete;
    return (bits[address >> 3] >> (address & 7)) & 1;
}

function put(table, address, value) {
    if (table === "holding" || table === "input") {
        buffers[table].writeUInt16BE(value, 2 * address);
        return;
    }
    const bits = table === "coil" ? buffers.coils : buffers.discrete;
    const bit = 1 << (address & 7);
    bits[address >> 3] = value ? bits[address >> 3] | bit : bits[address >> 3] & ~bit;
}

const door = net.createServer();
door.on("connection", (socket) => socket.on("error", () => {}));
new ModbusTCPServer(door, buffers);
door.listen(Number(process.argv[2]), "127.0.0.1", () => console.log("ready"));
obey(get, put);
