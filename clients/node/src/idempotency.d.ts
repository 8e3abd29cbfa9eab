// Types of idempotency.js.

import type { Request, RequestHandler } from "express";
import type { Pool, PoolClient } from "pg";

declare global {
    namespace Express {
        interface Request {
            /** The transaction of the request. Only wrapped handlers have it. */
            db: Pick<PoolClient, "query">;
            /** The key of the request, if it has one. Only wrapped handlers have it. */
            idempotencyKey: string | undefined;
        }
    }
}

export interface Options {
    /**
     * "required" (the default); "optional": without a key, the handler runs in a transaction, and nothing is stored;
     * "none": so it is for all requests, GET and HEAD too. Their handlers may use the key: request.idempotencyKey.
     */
    key?: "required" | "optional" | "none";
    /** Gives the scope of a request's key. Null (the default) is the setting idempotency.scope. */
    scope?: (request: Request) => string | null;
    /** The names of the headers that are stored with an answer. The default is HEADERS. */
    headers?: readonly string[];
    /** The largest body in bytes, of a request that no parser has read, and of an answer. The default is 1 MiB. */
    limit?: number;
    /**
     * Gets a message for each 503, for each 400 of the database, and for a connection that a handler has spoilt. The default
     * is console.error.
     */
    logger?: (message: string) => void;
}

/** The headers that are stored with an answer, unless you name others. */
export const HEADERS: readonly string[];

/** Returns a function that wraps the handler of a route. */
export function idempotency(pool: Pool, options?: Options): (handler: RequestHandler) => RequestHandler;
