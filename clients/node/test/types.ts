// What a program in TypeScript writes, checked by test/bin/types. It is not run.

import express from "express";
import pg from "pg";
import { HEADERS, idempotency, type Options } from "idempotency-express";

const options: Options = {
    key: "optional",
    scope: (request) => request.get("X-Tenant") ?? null,
    headers: [...HEADERS, "Set-Cookie"],
    limit: 10_000,
    logger: (message) => console.error(message.length),
};
const once = idempotency(new pg.Pool(), options);

express().post("/orders", express.json(), once(async (request, response) => {
    const { rows } = await request.db.query<{ id: number }>("SELECT 1 AS id");
    response.status(201).json({ id: rows[0].id, key: request.idempotencyKey?.length });
}));

// @ts-expect-error: there is no such key
idempotency(new pg.Pool(), { key: "sometimes" });
