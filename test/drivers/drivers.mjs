// What node-postgres and postgres.js make of our arguments. Connects as libpq's environment says, and prints a line for each
// call: its name, and what came of it.
import pg from "pg";
import postgres from "postgres";

const client = new pg.Client();
await client.connect();

async function call(driver, name, run) {
    let result;
    try {
        const value = Object.values((await run())[0])[0];
        result = typeof value === "object" && value !== null ? JSON.stringify(value) : String(value);
    } catch (error) {
        result = error.code;
    }
    console.log(`${driver}, ${name}: ${result}`);
}
const node = (name, query, ...values) => call("pg", name, async () => (await client.query(query, values)).rows);

await node("request as text", "SELECT outcome FROM idem_begin('n-1', $1, lease => '1h')", JSON.stringify([]));
await node("another request", "SELECT idem_fail('n-1', '1', 1)");
await node("request {} is not []", "SELECT outcome FROM idem_begin('n-1', $1, lease => '1h')", JSON.stringify({}));
await node("response as text", "SELECT idem_complete('n-2', $1, attempt) FROM idem_begin('n-2', lease => '1h')", JSON.stringify([1]));
await node("the response", "SELECT response FROM idem_lookup_request('n-2')");
await node("args as an array", "SELECT rows FROM idem_execute('n-3', $1, $2)", "SELECT $1::int AS room, $2::text AS guest", [8, "Bob"]);
await node("args as no array", "SELECT rows FROM idem_execute('n-4', $1, $2)", "SELECT 1 AS one", []);
await node("numbers as numbers", "SELECT rows FROM idem_execute('n-5', $1)", "SELECT 9007199254740993 AS id, 0.10::numeric AS amount");
await node("numbers as text", "SELECT rows FROM idem_execute('n-6', $1, numbers => 'text')", "SELECT 9007199254740993 AS id, 0.10::numeric AS amount");
await node("amount as text", "SELECT amount FROM idem_pay('n-7', $1)", "1234567.89");
await node("amount as a number", "SELECT amount FROM idem_pay('n-8', $1)", 0.1 + 0.2);
await node("amount undefined", "SELECT amount FROM idem_refund('n-9', (SELECT payment_id FROM idem_lookup('n-7')), $1)", undefined);
await node("metadata as an object", "SELECT metadata FROM idem_pay('n-10', 1, metadata => $1)", { a: 1 });
await client.end();

const { PGHOST, PGPORT, PGUSER, PGDATABASE } = process.env;
const sql = postgres({ path: `${PGHOST}/.s.PGSQL.${PGPORT}`, username: PGUSER, database: PGDATABASE, onnotice: () => {} });
const tagged = (name, run) => call("postgres.js", name, run);
await tagged("request as sql.json()", () => sql`SELECT outcome FROM idem_begin('t-1', ${sql.json({ a: 1 })}, lease => '1h')`);
await tagged("the same request", () => sql`SELECT outcome FROM idem_begin('t-1', ${sql.json({ a: 1 })}, lease => '1h')`);
await tagged("request as an object", () => sql`SELECT outcome FROM idem_begin('t-2', ${{ a: 1 }}, lease => '1h')`);
await tagged("response as sql.json()", () => sql`SELECT idem_complete('t-1', ${sql.json({ ok: 1 })}, 1)`);
await tagged("metadata as sql.json()", () => sql`SELECT metadata FROM idem_pay('t-3', 1, metadata => ${sql.json({ a: 1 })})`);
await tagged("amount as text", () => sql`SELECT amount FROM idem_pay('t-4', ${"1234567.89"})`);
await tagged("amount null", () => sql`SELECT amount FROM idem_refund('t-5', (SELECT payment_id FROM idem_lookup('t-4')), ${null})`);
await sql.end();
