// A transaction for each request, and a key for requests that are not idempotent by themselves.
//
// Each request has request.db.query(text, values), in a transaction. It is committed before the client gets an answer.
// If the status is 400 or above, all that the route did there is undone.
//
// POST and PATCH need an Idempotency-Key. The key, what the route did and its answer are one transaction. If the request
// is sent again, it gets the same answer, byte for byte. The key stays free after an exception, an error of the
// database, a 5xx, or a 4xx that a retry may avoid. Any other 4xx of the route is the key's answer from then on.

import { ServerResponse } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import pg from "pg";

const KEYED = ["POST", "PATCH"];
const KEPT = ["content-type", "location"];      // the headers of an answer that are replayed
const FOR_NOW = [401, 403, 408, 425, 429];      // answers that are not stored; a 5xx is not stored either
const AGAIN = ["40001", "40P01"];               // the whole transaction is run again

// Runs the routes of a router. request.body must be bytes, as express.raw() leaves them. ownKey: the paths whose routes
// pass the key to the database themselves.
export function idempotency(pool, routes, { ownKey = [] } = {}) {
    return async (request, response) => {
        const keys = request.headersDistinct["idempotency-key"] ?? [];
        if (KEYED.includes(request.method) && keys.length !== 1) {
            return response.status(400).json({ error: "one Idempotency-Key header is needed" });
        }
        const { url, baseUrl } = request;       // nested routers change them
        const run = KEYED.includes(request.method) && !ownKey.includes(request.path) ? once : undoable;
        const work = (db) => run(Object.assign(request, { db, url, baseUrl }), response, routes);

        const { status, headers, body } = await again(() => transaction(pool, work)).catch(refusal);
        for (const name in headers) response.setHeader(name, headers[name]);
        response.status(status).end(body);
    };
}

async function again(work) {
    for (const pause of [20, 100, 500]) {
        try {
            return await work();
        } catch (error) {
            if (!AGAIN.includes(error.code)) throw error;
        }
        await sleep(pause * (0.5 + Math.random()));
    }
    return await work();
}

class Unavailable extends Error {}

// Runs work in a transaction. Commits it; if anything throws, rolls it back. A connection on which the rollback fails is
// not used again.
async function transaction(pool, work) {
    const client = await pool.connect().catch((cause) => { throw new Unavailable("no connection", { cause }); });
    let lose, ended = false, broken = false;
    const lost = new Promise((_, reject) => { lose = reject; });
    client.on("error", lose);                   // without a listener, it would end the process

    const db = {
        async query(...query) {                 // a query that a route forgot to await must not meet the next request
            if (ended) throw new Error("the transaction has ended");
            return await client.query(...query);
        },
    };
    const committed = async () => {
        await db.query("BEGIN");
        const answer = await work(db);
        ended = true;
        // if a query has failed and the route ignored that, COMMIT rolls back
        if ((await client.query("COMMIT")).command !== "COMMIT") throw new Error("not committed: a query had failed");
        return answer;
    };
    try {
        return await Promise.race([committed(), lost]);
    } catch (error) {
        ended = true;
        await client.query("ROLLBACK").catch(() => { broken = true; });
        throw broken ? new Unavailable("connection lost", { cause: error }) : error;
    } finally {
        client.off("error", lose);
        client.release(broken);
    }
}

// Returns the answer that is stored with the key; or runs the route and stores its answer.
async function once(request, response, routes) {
    const { db, method, originalUrl, body } = request;
    const key = request.get("Idempotency-Key");
    const { rows: [begun] } = await db.query(
        `SELECT outcome, response FROM idem_begin($1, json_build_object('method', $2::text,
            'path', $3::text, 'body', nullif(convert_from($4, 'UTF8'), '')::json))`, [key, method, originalUrl, body]);
    if (["completed", "failed"].includes(begun.outcome)) {
        const { status, headers, body } = begun.response;
        return { status, headers: { ...headers, "idempotent-replayed": "true" }, body };
    }

    const answer = await undoable(request, response, routes);
    if (answer.status >= 500 || FOR_NOW.includes(answer.status)) {
        await db.query("SELECT idem_release($1)", [key]);
    } else {
        const text = answer.body.toString();
        if (!answer.body.equals(Buffer.from(text))) throw new Error("only text can be replayed");
        const kept = Object.entries(answer.headers).filter(([name]) => KEPT.includes(name));
        const end = answer.status < 400 ? "idem_complete" : "idem_fail";
        await db.query(`SELECT ${end}($1, $2)`,
            [key, JSON.stringify({ status: answer.status, headers: Object.fromEntries(kept), body: text })]);
    }
    return answer;
}

// Runs the route. Undoes what it did if the status of its answer is 400 or above.
async function undoable(request, response, routes) {
    await request.db.query("SAVEPOINT route");
    const answer = await held(request, response, routes);
    await request.db.query(`${answer.status < 400 ? "RELEASE" : "ROLLBACK TO"} SAVEPOINT route`);
    return answer;
}

// Runs the route with a response of its own. Returns its answer instead of sending it.
function held(request, { locals, app }, routes) {
    return new Promise((resolve, reject) => {
        const response = Object.assign(Object.setPrototypeOf(new ServerResponse(request), app.response), { locals });
        const chunks = [];
        response.write = (chunk, encoding) => chunks.push(Buffer.from(chunk, encoding)) > 0;
        response.end = (chunk, encoding) => {
            if (chunk && typeof chunk !== "function") response.write(chunk, encoding);
            resolve({ status: response.statusCode, headers: { ...response.getHeaders() }, body: Buffer.concat(chunks) });
            return response;
        };
        routes(request, response, (error) => reject(error ?? Object.assign(new Error("no such route"), { status: 404 })));
    });
}

// The answer to an error of the database.
function refusal(error) {
    const state = error instanceof pg.DatabaseError ? error.code : "";
    let status;
    if (state.startsWith("ID")) {
        status = Number(state.slice(2));
    } else if (/^(22|54|23502|23514)/.test(state)) {
        status = 400;                           // class 22: malformed; 54: too large; 23502, 23514: refused by a table
    } else if (error instanceof Unavailable || /^(08|25006|40|53|55|57|58)/.test(state)) {
        status = 503;                           // it may have been done or not: retry with the same key
    } else {
        throw error;                            // Express handles it, as any error of a route
    }
    const headers = { "content-type": "application/json; charset=utf-8" };
    if (status === 409 || status === 503) headers["retry-after"] = "1";
    const answer = { error: status === 503 ? "try again" : error.message };
    if (/^(ID|22)/.test(state)) answer.detail = error.detail;   // others' may show rows
    return { status, headers, body: JSON.stringify(answer) };
}
