// An answer, the form in which it is stored, and the answers to errors.
//
// An answer is { status, headers, body }. The headers are pairs of strings, so that one can be repeated; the body is a Buffer.

import { STATUS_CODES } from "node:http";

// The headers that are stored with an answer, unless you name others.
export const HEADERS = [
    "Cache-Control", "Content-Disposition", "Content-Encoding", "Content-Language", "Content-Location", "Content-Type",
    "ETag", "Expires", "Last-Modified", "Link", "Location", "Retry-After", "Vary", "WWW-Authenticate",
];

// Try again with the same key: it was done or not. A serialization failure, a deadlock, lock_timeout, a standby, a timeout of
// the transaction; no resources, the server stops, or is cancelled; a lost connection.
const FOR_NOW = /^(08|25006|25P0[34]|40|53|55P03|57|58)/;
// Errors of the extension. With idempotency.error_class = PT, they are of that class.
const OURS = /^(?:ID|PT)([45]\d\d)$/;
// The request is to blame: a value is missing, malformed, too long, out of range, or refused by a table. The rest of class 22,
// such as a division by zero, is a fault of the service.
const BAD_REQUEST = /^(2200[1-8]|2202[1-3]|2203|22P0|54|23502|23514)/;

// The pool has given no connection.
export class NoConnection extends Error {}

// The connection was lost.
export class Lost extends Error {}

// A request that is refused before anything is done.
export class Problem extends Error {
    constructor(status, detail) {
        super(detail);
        this.answer = problem(status, detail);
    }
}

// The stored form, as JSON. It is ASCII, so it fits into a database of any encoding. kept: the names of headers, lower case.
export function stored({ status, headers, body }, kept) {
    const json = JSON.stringify({ status, headers: headers.filter(([name]) => kept.has(name.toLowerCase())), ...text(body) });
    return json.replace(/[\u0080-\uffff]/g, (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

export function replayed(json) {
    const { status, headers, body, base64 } = JSON.parse(json);
    return {
        status,
        headers: [...headers, ["Idempotent-Replayed", "true"]],
        body: base64 === undefined ? Buffer.from(body) : Buffer.from(base64, "base64"),
    };
}

// Sends an answer.
export function send({ status, headers, body }, response) {
    const fields = {};
    for (const [name, value] of headers) {
        (fields[name.toLowerCase()] ??= { name, values: [] }).values.push(value);
    }
    for (const { name, values } of Object.values(fields)) {
        response.setHeader(name, values.length > 1 ? values : values[0]);
    }
    response.statusCode = status;
    response.end(body);
}

// Bytes as JSON: text if they are UTF-8 without NUL, which PostgreSQL cannot hold, or else base64.
export function text(bytes) {
    const body = bytes.toString();
    return bytes.includes(0) || !bytes.equals(Buffer.from(body)) ? { base64: bytes.toString("base64") } : { body };
}

// An answer as RFC 9457 has it. code: the SQLSTATE.
export function problem(status, detail, code) {
    const headers = [["Content-Type", "application/problem+json"]];
    if (status === 503 || /^(ID|PT)409$/.test(code)) headers.push(["Retry-After", "1"]);
    const title = STATUS_CODES[status] ?? "Error";
    return { status, headers, body: Buffer.from(JSON.stringify({ type: "about:blank", title, status, detail, code })) };
}

// The SQLSTATE of an error of pg. Errors of the system have a code, too, but no severity.
export function sqlstate(error) {
    return typeof error?.severity === "string" ? error.code ?? "" : "";
}

// Whether another try may succeed.
export function forNow(error) {
    return error instanceof Lost || FOR_NOW.test(sqlstate(error));
}

// Whether the extension raised the error for the client, such as ID422.
export function isOurs(error) {
    return OURS.test(sqlstate(error));
}

// The answer to an error of the database, or undefined if it is not for the client.
export function refusal(error) {
    const code = sqlstate(error);
    if (error instanceof NoConnection) {
        return problem(503, "The database gives no connection, and nothing was done. Send the request again, with the same key.");
    }
    if (forNow(error)) {
        return problem(503, "The request may have been done or not. Send it again, with the same key.", code || undefined);
    }
    const ours = OURS.exec(code);
    if (!ours && !BAD_REQUEST.test(code)) return undefined;
    const status = ours ? Number(ours[1]) : 400;
    if (!ours && !code.startsWith("22")) {          // the others name tables, and show rows
        return problem(status, "The database refuses a value of the request.", code);
    }
    return problem(status, error.detail ? `${error.message}: ${error.detail}` : error.message, code);
}
