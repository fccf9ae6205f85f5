// Runs the engine of Perfetto's viewer outside of a browser: a worker's surroundings, as much as it asks for. Requests come on standard input, each
// with its length in front (32 bits, little-endian); for each the number of replies goes to standard output, then every reply with its length.
"use strict";
const fs = require("fs");
const path = require("path");
const vm = require("vm");

const folder = process.argv[2];
const replies = [];
const port = { postMessage: (reply) => replies.push(Buffer.from(reply)) };

class FromFolder {
    open(method, address) {
        this.file = path.join(folder, path.basename(address));
    }
    send() {
        const content = fs.readFileSync(this.file);
        this.status = 200;
        this.response = content.buffer.slice(content.byteOffset, content.byteOffset + content.length);
    }
}

const silent = { log() {}, info() {}, debug() {}, warn() {}, error() {} };
const worker = {
    console: silent, XMLHttpRequest: FromFolder, TextDecoder, TextEncoder, performance, crypto: globalThis.crypto, URL,
    setTimeout, clearTimeout, setInterval, clearInterval, WorkerGlobalScope: function () {}, navigator: { userAgent: "" },
    location: { href: "file:///engine_bundle.js" },
};
worker.self = worker;
vm.createContext(worker);
vm.runInContext(fs.readFileSync(path.join(folder, "engine_bundle.js"), "utf8"), worker);
const bytes = vm.runInContext("count => new Uint8Array(count)", worker);

function read(count) {
    const content = Buffer.alloc(count);
    for (let at = 0; at < count; ) {
        const got = fs.readSync(0, content, at, count - at);
        if (got === 0) process.exit(0);
        at += got;
    }
    return content;
}

function length(count) {
    const content = Buffer.alloc(4);
    content.writeUInt32LE(count);
    return content;
}

function write(content) {
    for (let at = 0; at < content.length; ) at += fs.writeSync(1, content, at);
}

function serve() {
    const request = read(read(4).readUInt32LE());
    const data = bytes(request.length);
    data.set(request);
    replies.length = 0;
    port.onmessage({ data });
    write(Buffer.concat([length(replies.length), ...replies.flatMap((reply) => [length(reply.length), reply])]));
    setImmediate(serve);
}

worker.onmessage({ data: port });
setTimeout(serve, 0);  // after what the engine does first
