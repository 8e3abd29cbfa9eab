// Runs a handler, and holds its answer instead of sending it.

import { ServerResponse } from "node:http";

// The handler has a response of its own. Returns { answer, response }, or { passed } if the handler has called next().
// Throws what the handler throws, or gives to next().
export async function hold(handler, request, outer, limit) {
    let settle, fail;
    const settled = new Promise((resolve, reject) => { settle = resolve; fail = reject; });
    const response = held(request, outer, limit, settle, fail);
    const piped = new Promise((resolve) => { response.once("pipe", resolve); });
    const next = (passed) => {
        if (passed && passed !== "route" && passed !== "router") fail(passed);
        else settle({ passed });
    };
    const handled = (async () => handler(request, response, next))();
    handled.catch(fail);
    const result = await settled;
    // It may go on after it has answered. If it pipes, it may wait for "finish", which is after COMMIT.
    await Promise.race([handled, piped]);
    return result;
}

// A response that is not sent. It begins with the headers that are on the outer one.
function held(request, outer, limit, settle, fail) {
    const response = Object.setPrototypeOf(new ServerResponse(request), Object.getPrototypeOf(outer));
    const chunks = [];
    let size = 0, started = false;

    Object.assign(response, { req: request, locals: outer.locals });
    for (const [name, value] of Object.entries(outer.getHeaders())) response.setHeader(name, value);
    Object.defineProperty(response, "headersSent", { get: () => started });

    response.writeHead = (status, ...rest) => {
        started = true;
        response.statusCode = status;
        const fields = typeof rest[0] === "string" ? rest[1] : rest[0];     // there may be a reason before them
        const pairs = Array.isArray(fields) ? fields.flat() : Object.entries(fields ?? {}).flat(1);
        for (let i = 0; i < pairs.length; i += 2) response.setHeader(pairs[i], pairs[i + 1]);
        return response;
    };
    response.flushHeaders = () => { started = true; };
    response.write = (chunk, encoding, done) => {
        if (!started) response.writeHead(response.statusCode);      // others may have put theirs before ours
        const bytes = Buffer.from(chunk, typeof encoding === "string" ? encoding : undefined);
        size += chunks[chunks.push(bytes) - 1].length;
        if (size > limit) fail(new Error(`the answer is larger than ${limit} bytes`));
        const callback = done ?? encoding;
        if (typeof callback === "function") process.nextTick(callback);
        return true;
    };
    response.end = (...args) => {
        if (response.finished) return response;
        const done = args.find((arg) => typeof arg === "function");
        if (done) response.once("finish", done);
        if (args[0] && args[0] !== done) response.write(args[0], args[1]);
        else if (!started) response.writeHead(response.statusCode);
        response.finished = true;
        const headers = Object.entries(response.getHeaders())
            .filter(([name]) => name !== "content-length" && name !== "transfer-encoding")
            .flatMap(([name, value]) => [value].flat().map((one) => [name, String(one)]));
        settle({ answer: { status: response.statusCode, headers, body: Buffer.concat(chunks) }, response });
        return response;
    };
    return response;
}
