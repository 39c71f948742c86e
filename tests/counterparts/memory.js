// What the servers here have in common: four tables, and standard input to look at them and to change them.
"use strict";

const readline = require("node:readline");

const tables = {
    holding: new Array(120).fill(0),
    input: new Array(20).fill(0),
    coil: new Array(40).fill(0),
    discrete: new Array(40).fill(0),
};

// `get(table, address)` and `put(table, address, value)` reach the memory of the server.
function obey(get, put) {
    const lines = readline.createInterface({ input: process.stdin });
    lines.on("line", (line) => {
        const [verb, table, address, ...rest] = line.split(" ");
        const at = Number(address);
        if (verb === "get") {
            const values = Array.from({ length: Number(rest[0]) }, (_, i) => Number(get(table, at + i)));
            console.log(values.join(" "));
        } else {
            rest.forEach((value, i) => put(table, at + i, Number(value)));
            console.log("ok");
        }
    });
    lines.on("close", () => process.exit(0));
}

module.exports = { tables, obey };
