// Runs a handler in one transaction with the key of its request and with its answer.
//
// What happens to a request, in this order:
//
// 1. Its key and its body are read. If they are refused, no connection is needed.
// 2. A transaction begins. idem_begin() finds the stored answer, which is sent; or it claims the key, and the handler runs.
//    The handler's connection is request.db.
// 3. The handler's answer is held. idem_complete() stores it, and COMMIT makes key, effect and answer true at once.
// 4. The connection goes back to the pool. Only then the answer is sent, and the handler's response emits "finish".
//
// An answer of 400 or above undoes what the handler did. It is stored with the key, unless another try may succeed.
// So does what it throws, which is not stored, whatever the application answers.

import { setTimeout as sleep } from "node:timers/promises";
import { HEADERS, Problem, forNow, isOurs, refusal, replayed, send, sqlstate, stored } from "./answer.js";
import { hold } from "./held.js";
import { fingerprint, readBody, readKey } from "./request.js";
import { transaction } from "./transaction.js";

export { HEADERS };

const SAFE = ["GET", "HEAD", "OPTIONS"];        // these need no key
const AGAIN = ["40001", "40P01"];               // the whole transaction is run again
const NOT_STORED = [401, 403, 408, 425, 429];   // another try may succeed, as after a 5xx: the key stays free

// Returns once(handler), which wraps handlers.
//
// pool: a Pool of pg.
// key: "required"; "optional": without a key, the handler runs in a transaction, and nothing is stored; "none": so it is
//     for all requests, GET and HEAD too. Their handlers may use the key: request.idempotencyKey.
// scope: gives the scope of a request's key. Null is the setting idempotency.scope.
// headers: the names of the headers that are stored with an answer.
// limit: the largest body in bytes, of a request that no parser has read, and of an answer.
// logger: gets a message for each 503, for each 400 of the database, and for a connection that a handler has spoilt.
export function idempotency(pool, options = {}) {
    const { key = "required", scope = () => null, headers = HEADERS, limit = 1024 * 1024, logger = console.error } = options;
    if (!["required", "optional", "none"].includes(key)) throw new TypeError('key must be "required", "optional" or "none"');
    const settings = { pool, key, scope, kept: new Set(headers.map((name) => name.toLowerCase())), limit, logger };

    return (handler) => {
        // A router would find out too late that it has no route for a request.
        if (typeof handler.route === "function") throw new TypeError("wrap the handlers of routes, not a router");
        return (request, response, next) => {
            if (SAFE.includes(request.method) && key !== "none") return handler(request, response, next);
            return answer(settings, handler, request, response, next)
                .catch((error) => next(error || new Error("the handler threw nothing that is an error")));
        };
    };
}

async function answer(settings, handler, request, response, next) {
    const held = await work(settings, handler, request, response).catch((error) => {
        if (error instanceof Problem) return { answer: error.answer };
        const answer = refusal(error);
        if (answer === undefined) throw error;
        if (!isOurs(error)) {
            settings.logger(`${request.method} ${request.originalUrl.split("?")[0]}: ${answer.status}: ${error.message}`);
        }
        return { answer };
    });
    if (!held.answer) return next(held.passed);
    send(held.answer, response);
    held.response?.emit(held.answer.status < 400 ? "finish" : "close");
}

async function work(settings, handler, request, response) {
    const key = request.idempotencyKey = readKey(request);
    if (key === undefined && settings.key === "required") throw new Problem(400, "An Idempotency-Key header is required.");
    const unread = await readBody(request, settings.limit);
    const isOnce = key !== undefined && settings.key !== "none";
    const same = isOnce && fingerprint(request, unread ?? request.body);

    const handle = async (db) => {
        await db.lendTo(request);
        return hold(handler, request, response, settings.limit);
    };
    const run = () => transaction(settings.pool, settings.logger, async (db) => {
        if (isOnce) return handleOnce(settings, db, request, key, same, handle);
        const held = await handle(db);
        if (!held.answer || held.answer.status >= 400) db.endWith = "ROLLBACK";
        return held;
    });
    // A handler that has read the body from the stream cannot read it again.
    return again(run, () => !unread?.length || !request.readableEnded);
}

async function handleOnce({ scope, kept }, db, request, key, same, handle) {
    const [outcome, response, begunIn] = await db.query(
        `SELECT outcome, response::text, coalesce($3::text, current_setting('idempotency.scope'))
         FROM idem_begin($1::text, $2::json, scope => $3::text)`,
        [key, same, scope(request)]);
    if (["completed", "failed"].includes(outcome)) return { answer: replayed(response) };

    const held = await handle(db);
    const status = held.answer?.status ?? 500;      // passed on: nothing is stored, either
    if (status >= 500 || NOT_STORED.includes(status)) {
        db.endWith = "ROLLBACK";
        return held;
    }
    if (status >= 400) await db.undo();
    const end = status < 400 ? "idem_complete" : "idem_fail";
    await db.query(`SELECT ${end}($1::text, $2::json, scope => $3::text)`, [key, stored(held.answer, kept), begunIn])
        .catch((error) => {                         // the client is not to blame
            throw forNow(error) ? error : new Error(`the answer could not be stored: ${error.message}`, { cause: error });
        });
    return held;
}

async function again(work, mayRepeat) {
    for (const pause of [20, 100, 500]) {
        try {
            return await work();
        } catch (error) {
            if (!AGAIN.includes(sqlstate(error)) || !mayRepeat()) throw error;
        }
        await sleep(pause * (0.5 + Math.random()));
    }
    return await work();
}
