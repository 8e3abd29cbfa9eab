// A transaction on a connection of the pool.
//
// The connection goes back as it came. If the handler has changed what outlives a transaction, it is closed instead.

import { Lost, NoConnection, sqlstate } from "./answer.js";

// What may outlive a transaction: settings that the server knows, roles, LISTEN, temporary tables. Locks are given up.
const STATE = `
    SELECT concat_ws(',', session_user, current_user,
        (SELECT string_agg(name || '=' || setting, ',' ORDER BY name) FROM pg_settings WHERE source = 'session'),
        (SELECT string_agg(channel, ',') FROM pg_listening_channels() channel),
        (SELECT string_agg(oid::text, ',') FROM pg_class WHERE relnamespace = pg_my_temp_schema()),
        pg_advisory_unlock_all()) AS state`;

const SAVEPOINT = "idempotency_handler";
// What begins or ends a transaction, after white space and comments.
const ENDS = new RegExp(String.raw`^(?:\s|--.*\n|/\*[^]*?\*/)*(?:BEGIN|START\s+TRANSACTION|COMMIT|END|ABORT|PREPARE\s+TRANSACTION`
    + String.raw`|ROLLBACK(?!(?:\s+(?:WORK|TRANSACTION))?\s+TO\b))\b`, "i");

// What the pool has set on its connections.
const states = new WeakMap();

// Runs work in a transaction, and returns what it returns. work(db) sets db.endWith to ROLLBACK to undo all.
export async function transaction(pool, logger, work) {
    const client = await pool.connect().catch((cause) => { throw new NoConnection(`no connection: ${cause.message}`, { cause }); });
    let lose, broken = false;
    const lost = new Promise((_, reject) => { lose = reject; });
    client.on("error", lose);                   // without a listener, it would end the process

    const db = new Transaction(client);
    const run = async () => {
        await db.begin();
        const result = await work(db);
        await db.end();
        return result;
    };
    try {
        return await Promise.race([run(), lost]);
    } catch (error) {
        db.endWith = "ROLLBACK";
        await db.end().catch(() => { broken = true; });
        throw broken ? new Lost(`connection lost: ${error?.message}`, { cause: error }) : error;
    } finally {
        if (db.changed) logger("a connection is closed, as the handler has left a setting, LISTEN or a temporary table");
        client.off("error", lose);
        client.release(broken || db.changed);
    }
}

class Transaction {
    endWith = "COMMIT";
    changed = false;
    #client;
    #lent = false;
    #ended = false;

    constructor(client) {
        this.#client = client;
    }

    // Runs a query of our own, and returns its row if it has one.
    async query(text, values) {
        return (await this.#client.query({ text, values, rowMode: "array" })).rows[0];
    }

    // Gives the connection to a handler, as request.db. A query that the handler forgot to await must not meet the next
    // request.
    async lendTo(request) {
        await this.query(`SAVEPOINT ${SAVEPOINT}`);
        this.#lent = true;
        request.db = {
            query: async (...query) => {
                if (this.#ended) throw new Error("the transaction has ended");
                if (ENDS.test(query[0]?.text ?? query[0])) {
                    throw new Error("the handler must not begin or end a transaction: its answer does. Use SAVEPOINT to undo a part");
                }
                return await this.#client.query(...query);
            },
        };
    }

    // Undoes what the handler did.
    async undo() {
        await this.query(`ROLLBACK TO SAVEPOINT ${SAVEPOINT}`);
    }

    async begin() {
        if (!states.has(this.#client)) {
            await this.query("SELECT FROM idem_lookup('-', '-')").catch((error) => {    // loads the library, and so its settings
                throw sqlstate(error) !== "42883" ? error : new Error(
                    "no idem_lookup(): is the extension in this database, and its schema in the search_path?", { cause: error });
            });
            states.set(this.#client, (await this.query(STATE))[0]);
        }
        await this.query("BEGIN");
    }

    async end() {
        this.#ended = true;
        if (!this.#lent) return void await this.#client.query(this.endWith);
        // If the handler has ended the transaction, or a query has failed, there is no savepoint to release.
        const release = this.endWith === "COMMIT" ? `RELEASE SAVEPOINT ${SAVEPOINT};` : "";
        const results = await this.#client.query(`${release}${this.endWith};${STATE}`);
        this.changed = results.at(-1).rows[0].state !== states.get(this.#client);
    }
}
