// What is read of a request: its key, its body, and what makes it the same request when the key comes again.

import { Problem, text } from "./answer.js";

// The header of the IETF draft is a string of RFC 8941. Most clients send it bare.
const QUOTED = /^"((?:[ !#-[\]-~]|\\["\\])+)"$/;
const BARE = /^[!#-~](?:[ !#-~]*[!#-~])?$/;
const JSON_TYPE = /^application\/(?:.+\+)?json$/;
const BOUNDARY = /;\s*boundary=("[^"]*"|[^\s;]*)/i;

// The key, or undefined if there is no header.
export function readKey(request) {
    const values = request.headersDistinct["idempotency-key"] ?? [];
    if (values.length === 0) return undefined;
    if (values.length > 1) throw new Problem(400, "There is more than one Idempotency-Key header.");
    const quoted = QUOTED.exec(values[0]);
    const key = quoted ? quoted[1].replace(/\\(.)/g, "$1") : BARE.exec(values[0])?.[0];
    if (key?.length <= 255) return key;
    throw new Problem(400,
        "The Idempotency-Key header is malformed: it must be 1 to 255 characters of printable ASCII, bare or in double quotes.");
}

// The body, or undefined if a parser has read it. What is read is put back, for the parsers of the handler.
export function readBody(request, limit) {
    const { "transfer-encoding": encoding, "content-length": length } = request.headers;
    if (encoding === undefined && !Number(length)) return Buffer.alloc(0);
    if (request.readableDidRead) return undefined;
    return new Promise((resolve, reject) => {
        const chunks = [];
        let size = 0;
        const end = (settle, result) => {
            request.off("readable", read).off("error", left).off("close", left);
            settle(result);
        };
        const read = () => {
            while (request.readableLength > 0) size += chunks[chunks.push(request.read()) - 1].length;
            if (size > limit) return end(reject, new Problem(413, `The body is larger than ${limit} bytes.`));
            if (!request.complete) return;
            const body = Buffer.concat(chunks);
            if (size > 0) request.unshift(body);        // all in one go, so "end" is not emitted before
            end(resolve, body);
        };
        const left = () => end(reject, new Problem(400, "The client left before it had sent all of the request."));
        request.on("readable", read).on("error", left).on("close", left);
        read();
    });
}

// The request as JSON. The database compares JSON by meaning, so a JSON body is compared so, too. body: a Buffer, or what
// a parser has made.
export function fingerprint(request, body) {
    try {
        return describe(request, body);
    } catch (error) {
        if (error instanceof RangeError) throw new Problem(400, "The body is nested too deeply.");
        throw error;
    }
}

function describe(request, body) {
    const [path, ...query] = request.originalUrl.split("?");
    const members = { method: request.method, path, query: query.join("?") };
    const type = request.headers["content-type"] ?? "";
    const mediaType = type.split(";")[0].trim().toLowerCase();
    const json = JSON_TYPE.test(mediaType);
    // A parser of files, such as multer, leaves only the fields. One that leaves nothing leaves all bodies the same.
    const isEmpty = !/json$|urlencoded$/.test(mediaType) && Object.keys(body ?? {}).length === 0;
    if (!Buffer.isBuffer(body) && (mediaType.startsWith("multipart/") || body === undefined || isEmpty)) {
        throw new Error(`a body of type ${type} was read before, and is not all in request.body: read it in the handler`);
    }
    if (typeof body === "string" && !json) body = Buffer.from(body);
    if (Buffer.isBuffer(body) && body.length === 0) return JSON.stringify(members);
    if (!Buffer.isBuffer(body)) return JSON.stringify({ ...members, type: mediaType, body });
    if (json && isJson(body)) return `${JSON.stringify({ ...members, type: mediaType }).slice(0, -1)},"body":${body}}`;
    const boundary = BOUNDARY.exec(type);               // each try may have another one
    if (boundary) {
        const bytes = body.toString("latin1").replaceAll(boundary[1].replaceAll('"', ""), "");
        return JSON.stringify({ ...members, type: type.replace(boundary[0], ""), ...text(Buffer.from(bytes, "latin1")) });
    }
    return JSON.stringify({ ...members, type, ...text(body) });
}

function isJson(bytes) {
    try {
        JSON.parse(bytes);
        return text(bytes).body !== undefined;
    } catch {
        return false;
    }
}
