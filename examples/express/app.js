// Payments over HTTP that are safe to repeat. Connects as libpq's environment says (PGHOST, PGUSER, ...).
//
// All amounts go as text from the client's JSON to PostgreSQL's numeric and back. There is no float on the way.

import express from "express";
import pg from "pg";
import { idempotency } from "idempotency-express";

const SETTINGS = {
    "idempotency.scope": "shop",
    "idempotency.currency": "USD",          // of requests that name none
    "idempotency.in_flight": "fail",        // 409 instead of waiting
    "lock_timeout": "5s",
    "idle_in_transaction_session_timeout": "10s",
    "timezone": "UTC",
};

const pool = new pg.Pool({
    options: Object.entries(SETTINGS).map(([name, value]) => `-c ${name}=${value}`).join(" "),
    max: 10,
    connectionTimeoutMillis: 5000,          // also for the wait until a connection of the pool is free
    query_timeout: 30_000,
});
pool.on("error", (error) => console.error(`an idle connection: ${error.message}`));    // the next request has another

// The handlers of both have a transaction, in request.db, which is committed before the answer is sent.
const keyed = idempotency(pool);                        // each request needs a key
const unkeyed = idempotency(pool, { key: "none" });     // or it is idempotent by itself

const app = express();
app.disable("x-powered-by");
app.disable("etag");
app.use(express.raw({ type: () => true }));     // bytes: JSON is PostgreSQL's to read

// A receipt as JSON. A receipt never changes, so the bytes of a replay do not either.
const RECEIPT = `json_build_object('id', p.payment_id, 'kind', p.kind, 'status', p.status,
    'amount', p.amount::text, 'currency', p.currency, 'refundable', p.refundable::text,
    'reference', p.reference, 'metadata', p.metadata, 'created_at', p.created_at)::text AS receipt`;

// Runs a query that returns one row.
async function one(request, query, ...values) {
    return (await request.db.query(query, values)).rows[0];
}

// The header is the payment's own key, which never expires. The keys of keyed routes expire after a day.
app.post("/payments", unkeyed(async (request, response) => {
    const { receipt, status, replayed } = await one(request, `
        SELECT ${RECEIPT}, p.status, p.replayed
        FROM (SELECT convert_from($2, 'UTF8')::jsonb) r (body),
            idem_pay($1::text, (body->>'amount')::numeric, body->>'currency',
                reference => body->>'reference', metadata => nullif(body->'metadata', 'null')) p`,
        request.idempotencyKey, request.body);
    if (replayed) response.set("Idempotent-Replayed", "true");
    response.status(status === "cancelled" ? 410 : 201).type("json").send(receipt);
}));

// Reads the payment. The status is that of now. A repeated POST returns the status of its time.
app.get("/payments/:id", unkeyed(async (request, response) => {
    const { state } = await one(request, `
        SELECT json_build_object('id', p.payment_id, 'status', p.status, 'currency', p.currency,
            'captured', p.captured::text, 'refunded', p.refunded::text, 'points', coalesce(s.points, 0))::text AS state
        FROM idem_payment($1::uuid) p LEFT JOIN points s USING (payment_id)`, request.params.id);
    response.type("json").send(state);
}));

// Gives the money back. idem_cancel() derives its key from the payment's key, so it is done once.
app.delete("/payments/:id", unkeyed(async (request, response) => {
    const { receipt } = await one(request, `
        SELECT ${RECEIPT}
        FROM idem_cancel((SELECT key FROM idem_history($1::uuid) WHERE seq = 1)) p`, request.params.id);
    response.type("json").send(receipt);
}));

// Replaces a value: however often it is sent, the result is the same.
app.put("/payments/:id/points", unkeyed(async (request, response) => {
    const { points } = await one(request, `
        INSERT INTO points (payment_id, points)
        SELECT payment_id, (convert_from($2, 'UTF8')::jsonb->>'points')::int FROM idem_payment($1::uuid)
        ON CONFLICT (payment_id) DO UPDATE SET points = excluded.points
        RETURNING json_build_object('points', points)::text AS points`, request.params.id, request.body);
    response.type("json").send(points);
}));

// Increases a value: only the key makes it safe to repeat.
app.patch("/payments/:id/points", keyed(async (request, response) => {
    const { points, total } = await one(request, `
        INSERT INTO points AS p (payment_id, points)
        SELECT payment_id, (convert_from($2, 'UTF8')::jsonb->>'add')::int FROM idem_payment($1::uuid)
        ON CONFLICT (payment_id) DO UPDATE SET points = p.points + excluded.points
        RETURNING json_build_object('points', points)::text AS points, points AS total`, request.params.id, request.body);
    if (total > 1000) return response.status(409).json({ error: "more than 1000 points" });     // undoes the INSERT
    response.type("json").send(points);
}));

// Makes something new, as any POST. Only the key prevents a second parcel.
app.post("/payments/:id/parcels", keyed(async (request, response) => {
    const { id } = request.params;
    const { status, closed } = await one(request,
        "SELECT status, EXISTS (SELECT FROM closed) AS closed FROM idem_payment($1::uuid)", id);
    if (closed) return response.status(503).json({ error: "closed" });      // not for good: the key stays free
    if (status !== "succeeded") return response.status(409).json({ error: "not paid, or given back" });
    const { parcel, parcel_id } = await one(request, `
        INSERT INTO parcel (payment_id, address)
        VALUES ($1::uuid, convert_from($2, 'UTF8')::jsonb->>'address')
        RETURNING json_build_object('parcel', parcel_id, 'address', address, 'sent_at', sent_at)::text AS parcel, parcel_id`,
        id, request.body);
    response.status(201).location(`/payments/${id}/parcels/${parcel_id}`).type("json").send(parcel);
}));

// Errors that neither a route nor the database has answered.
app.use((error, request, response, next) => {
    const status = error.status ?? 500;
    if (status >= 500) console.error(error);
    response.status(status).json({ error: status >= 500 ? "internal error" : error.message });
});

// A route may forget to await something. Without this handler, a failure of that would end the process.
process.on("unhandledRejection", console.error);

const server = app.listen(process.env.PORT ?? 8000, "127.0.0.1");

// Requests in progress are answered before the process ends.
process.once("SIGTERM", () => {
    server.close(() => pool.end());
    server.closeIdleConnections();
});
