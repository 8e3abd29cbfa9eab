// The service that the package is tested with, by test/http/clients. clients/python/test/app.py has the same routes.

import { createRequire } from "node:module";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { gzipSync } from "node:zlib";
import { idempotency } from "../src/idempotency.js";

const require = createRequire(new URL("../../../examples/express/app.js", import.meta.url));
const express = require("express");
const pg = require("pg");

const pool = new pg.Pool({ max: 10 });
pool.on("error", () => {});
pool.on("connect", (client) => client.query("SET application_name = 'pooled'; SET idempotency.in_flight = 'fail'"));
const single = new pg.Pool({ max: 1, connectionTimeoutMillis: 500 });
single.on("error", () => {});
const down = new pg.Pool({ host: "/nonexistent" });

const scope = (request) => request.get("X-Tenant") ?? null;
const once = idempotency(pool, { scope, limit: 100_000 });
const cookies = idempotency(pool, { headers: ["SET-cookie", "Content-Type"] });
const optional = idempotency(pool, { key: "optional" });
const plain = idempotency(pool, { key: "none" });
const alone = idempotency(single);
const silent = idempotency(down);

const app = express();
const routes = express.Router();
const hit = (request, what) => request.db.query("INSERT INTO hit VALUES ($1)", [what]);

routes.post("/label", once(async (request, response) => {
    await hit(request, "label");
    response.status(201).type("pdf").send(Buffer.from("%PDF-1.7\n\xff\xfe\0\x80", "latin1"));
}));
routes.post("/gzip", once(async (request, response) => {
    response.set({ "Content-Encoding": "gzip", "Content-Type": "application/json" }).send(gzipSync('{"zip": true}'));
}));
routes.post("/nul", once(async (request, response) => {
    response.type("text").send("a\0b é 😀");
}));

const many = (request, response) => {
    response.cookie("a", "1").cookie("b", "2").set({
        "cache-control": "no-store", "Content-Disposition": 'inline; filename="x"', "Content-Language": "de", "ETag": '"7"',
        "Link": ["</a>; rel=next", "</b>; rel=prev"], "Location": "/x", "WWW-Authenticate": "Basic", "X-Other": "1",
    }).status(201).json({ ok: true });
};
routes.post("/headers", once(many));
routes.post("/cookies", cookies(many));

// What the handler sees of a body, with a parser before it, and with one that the handler calls.
const seen = async (request, response) => {
    await hit(request, "seen");
    const { body } = request;
    response.json(Buffer.isBuffer(body) ? { bytes: body.toString("latin1") } : body === undefined ? { none: true } : body);
};
routes.post("/json", express.json(), once(seen));
routes.post("/form", express.urlencoded(), once(seen));
routes.post("/raw", express.raw({ type: () => true }), once(seen));
routes.post("/none", once(seen));
// Parsers that take the body away: one leaves the fields of a form, and one leaves nothing.
const takes = (body) => async (request, response, next) => {
    for await (const _ of request);
    request.body = body;
    next();
};
routes.post("/fields", takes({ a: "1" }), once(seen));
routes.post("/taken", takes(undefined), once(seen));
routes.post("/emptied", takes({}), once(seen));
routes.post("/late", once((request, response, next) => express.raw({ type: () => true, limit: "1mb" })(request, response, (error) =>
    error ? next(error) : seen(request, response).catch(next))));

// Work for after the answer, and the ways to fail before.
routes.post("/after", express.json(), once(async (request, response) => {
    const { what } = request.body;
    response.on("finish", () => pool.query("INSERT INTO hit SELECT 'after ' || count(*) FROM hit WHERE what = $1", [what]));
    await hit(request, what);
    if (what === "refuse") return response.status(409).json({ refused: true });
    if (what.startsWith("handled")) throw Object.assign(new Error(what), { status: Number(what.split(" ")[1]) });
    if (what === "raise") throw new Error("raised");
    if (what === "ignore") await request.db.query("SELECT 1/0").catch(() => {});
    response.status(201).json({ what });
}));
routes.post("/idle", once(async (request) => {
    await request.db.query("SET LOCAL idle_in_transaction_session_timeout = 100");
    await new Promise(() => {});        // it never answers
}));
routes.post("/nothing-thrown", once(async () => { throw undefined; }));
routes.post("/sqlstate", express.json(), once(async (request) => {
    await hit(request, "sqlstate");
    await request.db.query(`DO $$BEGIN RAISE SQLSTATE '${request.body.code}' USING MESSAGE = 'a message', DETAIL = 'A detail.'; END$$`);
}));
// It goes on after it has answered.
routes.post("/goes-on", express.json(), once(async (request, response) => {
    response.status(201).json({});
    await request.db.query("SELECT pg_sleep(0.05)");
    await hit(request, "goes on");
    if (request.body.fails) throw new Error("failed later");
}));
const end = async (request, response) => {
    await hit(request, "end");
    await request.db.query(request.body.how);
    response.json({});
};
routes.post("/end", express.json(), once(end));
routes.post("/end-optional", express.json(), optional(end));
routes.post("/part", once(async (request, response) => {
    await hit(request, "kept");
    await request.db.query("SAVEPOINT handler");
    await hit(request, "undone");
    await request.db.query("rollback to handler");
    response.json({});
}));

routes.post("/stream", once(async (request, response) => {
    await hit(request, "stream");
    response.writeHead(201, { "Content-Type": "text/plain" });
    await pipeline(Readable.from(["one ", "two ", "three"]), response);
}));
routes.get("/stream", once(async (request, response) => {
    response.write("db: ");
    response.end(String(request.db !== undefined));
}));
routes.post("/large", once(async (request, response) => {
    await hit(request, "large");
    response.send("x".repeat(100_001));
}));
routes.post("/slow", once(async (request, response) => {
    await request.db.query("SELECT pg_advisory_xact_lock(1)");
    await hit(request, "slow");
    response.status(201).json({ slow: true });
}));

routes.post("/optional", optional(async (request, response) => {
    await hit(request, "optional");
    response.status(201).json({});
}));
routes.get("/plain", plain(async (request, response) => {
    const { rows } = await request.db.query("SELECT pg_current_xact_id()::text AS first");
    const { rows: [{ second }] } = await request.db.query("SELECT pg_current_xact_id()::text AS second");
    response.json(rows[0].first === second);
}));

// All on one connection.
routes.post("/leak", express.json(), alone(async (request, response) => {
    await request.db.query(request.body.sql);
    response.json({ pid: (await request.db.query("SELECT pg_backend_pid() AS pid")).rows[0].pid });
}));
routes.post("/forgotten", alone(async (request, response) => {
    setTimeout(() => request.db.query("SELECT 1").catch((error) => console.log(error.message)), 300);
    response.json({});
}));
routes.post("/hold", alone(async (request, response) => {
    await request.db.query("SELECT pg_advisory_xact_lock(1)");
    response.json({});
}));
routes.post("/down", silent(many));

routes.post("/passed", once((request, response, next) => next()), (request, response) => response.json({ passed: true }));

app.use("/shop", (request, response, next) => { response.set("Vary", "Origin"); next(); }, routes);
app.post("/later", (request, response) => response.json({ later: request.db === undefined }));
app.use((error, request, response, next) => {
    response.status(error.status ?? 500).set("X-Handler", "app").json({ error: error.message });
});

const server = app.listen(process.env.PORT, "127.0.0.1");
process.once("SIGTERM", () => {
    server.close(() => process.exit());
    server.closeIdleConnections();
});
