#!/usr/bin/python3
"""A card processor that fails in all the ways that real ones do. For tests: it moves no money.

    processor.py --port 8100 --file processor.db --faults '{"lose": 0.1}' --key-life 86400 --seed 7

It speaks JSON over HTTP. Its rules are those of Stripe's API, and its data are in a file, so you may kill it.

    POST /charges   {"amount": "19.99", "currency": "EUR", "card": "visa", "order": "order-17"}
    GET  /charges?order=order-17        all charges of an order, also those that were declined; without order=, all
    POST /refunds   {"charge": "ch_...", "amount": "5.00", "refund": "order-17-refund-1"}
    GET  /refunds?refund=...            the same for refunds
    GET  /events?after=7                what became final later: charge.succeeded, charge.failed; the same for refunds
    PUT  /faults    {"lose": 0.5}       sets the rates, and answers how often each fault has struck

A POST needs an Idempotency-Key. Each key is forgotten after its life. Until then:

    the same request again      the stored answer, also if that is 402 or 500
    while the first one runs    409
    with other parameters       400

It does not look at "order" and "refund". Under a new key, the same order is charged again.
"""
import argparse
import collections
import contextlib
import http.server
import json
import random
import secrets
import sqlite3
import threading
import time
import urllib.parse
from decimal import Decimal

# The faults, and when they strike. A rate is a chance from 0 to 1.
FAULTS = {
    "drop": 0,              # the connection is closed before anything was done
    "refuse": 0,            # 503 before anything was done; not stored under the key
    "slow": 0,              # it waits for up to --slowness seconds before it does the work
    "error_before": 0,      # 500 and nothing done; stored under the key
    "decline": 0,           # 402: the bank says no
    "pending": 0,           # it is pending, and turns final within --turns-within seconds
    "error_after": 0,       # 500 though the work was done; stored under the key
    "lose": 0,              # the work was done, and the connection is closed without an answer
    "slow_answer": 0,       # the work was done, and the answer comes up to --slowness seconds later
    "refund_fails": 0,      # a refund succeeds, and fails within --turns-within seconds
}

TABLES = """
    CREATE TABLE IF NOT EXISTS charges (
        id TEXT PRIMARY KEY, "order" TEXT, amount TEXT, currency TEXT, status TEXT, turns TEXT, turns_at REAL);
    CREATE TABLE IF NOT EXISTS refunds (
        id TEXT PRIMARY KEY, refund TEXT, charge TEXT, amount TEXT, status TEXT, turns TEXT, turns_at REAL);
    CREATE TABLE IF NOT EXISTS events (
        id INTEGER PRIMARY KEY AUTOINCREMENT, type TEXT, "order" TEXT, refund TEXT);
    CREATE TABLE IF NOT EXISTS struck (
        fault TEXT PRIMARY KEY, times INTEGER);
    CREATE TABLE IF NOT EXISTS keys (
        key TEXT PRIMARY KEY, request TEXT, used_at REAL, status INTEGER, answer TEXT);
    DELETE FROM keys WHERE status IS NULL;      -- they were in flight when the process was killed
"""


class Dropped(Exception):
    """The client gets no answer."""


class Processor(http.server.ThreadingHTTPServer):
    request_queue_size = 128
    daemon_threads = True

    def __init__(self, options):
        super().__init__(("127.0.0.1", options.port), Handler)
        self.options = options
        self.rates = {**FAULTS, **json.loads(options.faults)}
        self.requests = collections.Counter()
        self.lock = threading.RLock()
        self.db = sqlite3.connect(options.file, isolation_level=None, check_same_thread=False)
        self.db.row_factory = sqlite3.Row
        # what is committed survives kill -9, but not a power cut
        self.db.executescript("PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF;" + TABLES)

    @contextlib.contextmanager
    def transaction(self):
        """Time passes at the start of each transaction: keys are forgotten, charges and refunds turn final."""
        with self.lock:
            self.db.execute("BEGIN IMMEDIATE")
            try:
                now = time.time()
                self.db.execute("DELETE FROM keys WHERE status IS NOT NULL AND used_at < ?",
                                [now - self.options.key_life])
                self.db.execute("""INSERT INTO events (type, "order", refund)
                    SELECT type || turns, "order", refund FROM (
                        SELECT 'charge.' AS type, "order", NULL AS refund, turns, turns_at FROM charges UNION ALL
                        SELECT 'refund.', NULL, refund, turns, turns_at FROM refunds)
                    WHERE turns_at < ? ORDER BY turns_at""", [now])
                for table in "charges", "refunds":
                    self.db.execute(f"""UPDATE {table} SET status = turns, turns_at = NULL WHERE turns_at < ?""", [now])
                yield self.db
                self.db.execute("COMMIT")
            except BaseException:
                self.db.execute("ROLLBACK")
                raise

    def draw(self, request):
        """Draws the faults of a request. They follow from the seed, the request and how often it came."""
        with self.lock:
            self.requests[request] += 1
            chance = random.Random(f"{self.options.seed} {request} {self.requests[request]}")
            return {name: chance.random() for name in FAULTS if chance.random() < self.rates[name]}


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.handle_with(self.list)

    def do_POST(self):
        self.handle_with(self.keyed)

    def do_PUT(self):
        rates = json.loads(self.body())
        with self.server.lock:
            self.server.rates.update(rates)
            self.reply(200, dict(map(tuple, self.server.db.execute("SELECT * FROM struck"))))

    def strikes(self, fault):
        if fault in self.faults:
            with self.server.lock:
                self.server.db.execute("""INSERT INTO struck VALUES (?, 1)
                    ON CONFLICT (fault) DO UPDATE SET times = times + 1""", [fault])
            return True

    def wait(self, fault):
        if self.strikes(fault):
            time.sleep(self.faults[fault] * self.server.options.slowness)

    def handle_with(self, work):
        self.faults = self.server.draw(f"{self.path} {self.headers.get('Idempotency-Key')}")
        try:
            if self.strikes("drop"):
                raise Dropped
            if self.strikes("refuse"):
                return self.reply(503, {"error": "come back later"})
            status, answer = work(self.body())
            self.wait("slow_answer")
            if self.strikes("lose"):
                raise Dropped
            self.reply(status, answer)
        except (Dropped, ConnectionError):
            self.close_connection = True

    def body(self):
        length = int(self.headers.get("Content-Length", 0))
        body = self.rfile.read(length)
        if len(body) < length:
            raise Dropped               # the client is gone before it had sent all of the request
        return body.decode()

    def reply(self, status, answer):
        content = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *args):
        pass

    def list(self, body):
        url = urllib.parse.urlsplit(self.path)
        query = dict(urllib.parse.parse_qsl(url.query))
        lists = {
            "/charges": ("""SELECT * FROM charges WHERE "order" = coalesce(?, "order")""", "order"),
            "/refunds": ("SELECT * FROM refunds WHERE refund = coalesce(?, refund)", "refund"),
            "/events": ("SELECT * FROM events WHERE id > coalesce(?, 0) ORDER BY id LIMIT 100", "after"),
        }
        if url.path not in lists:
            return 404, {"error": "no such page"}
        select, name = lists[url.path]
        with self.server.transaction() as db:
            return 200, [dict(row) for row in db.execute(select, [query.get(name)])]

    def keyed(self, body):
        work = {"/charges": Handler.charge, "/refunds": Handler.refund}.get(self.path)
        key = self.headers.get("Idempotency-Key")
        if not work or not key:
            return (400, {"error": "an Idempotency-Key is needed"}) if work else (404, {"error": "no such page"})
        request = f"{self.path} {body}"

        with self.server.transaction() as db:
            known = db.execute("SELECT * FROM keys WHERE key = ?", [key]).fetchone()
            if not known:
                db.execute("INSERT INTO keys (key, request, used_at) VALUES (?, ?, ?)", [key, request, time.time()])
        if known and known["request"] != request:
            return 400, {"error": "the key was used with other parameters"}
        if known and known["status"] is None:
            return 409, {"error": "the key is in flight"}
        if known:
            return known["status"], json.loads(known["answer"])

        self.wait("slow")
        with self.server.transaction() as db:
            if self.strikes("error_before"):
                status, answer = 500, {"error": "something went wrong"}
            else:
                status, answer = work(self, db, json.loads(body))
                if self.strikes("error_after"):
                    status, answer = 500, {"error": "something went wrong"}
            db.execute("UPDATE keys SET status = ?, answer = ?, used_at = ? WHERE key = ?",
                       [status, json.dumps(answer), time.time(), key])
        return status, answer

    def charge(self, db, asked):
        made = {"id": "ch_" + secrets.token_hex(8), "order": asked["order"], "amount": asked["amount"],
                "currency": asked["currency"], **self.outcome()}
        db.execute("INSERT INTO charges VALUES (:id, :order, :amount, :currency, :status, :turns, :turns_at)", made)
        return 402 if made["status"] == "failed" else 200, made

    def refund(self, db, asked):
        charge = db.execute("SELECT * FROM charges WHERE id = ? AND status = 'succeeded'", [asked["charge"]]).fetchone()
        if not charge:
            return 404, {"error": "no such charge"}
        refunded = db.execute("SELECT amount FROM refunds WHERE charge = ? AND status <> 'failed'", [charge["id"]])
        if sum(Decimal(row["amount"]) for row in refunded) + Decimal(asked["amount"]) > Decimal(charge["amount"]):
            return 400, {"error": "more than was charged"}
        made = {"id": "re_" + secrets.token_hex(8), "refund": asked["refund"], "charge": charge["id"],
                "amount": asked["amount"], **self.outcome(may_fail_later=True)}
        db.execute("INSERT INTO refunds VALUES (:id, :refund, :charge, :amount, :status, :turns, :turns_at)", made)
        return 402 if made["status"] == "failed" else 200, made

    def outcome(self, may_fail_later=False):
        """The status, and what it turns to later."""
        status = turns = "failed" if self.strikes("decline") else "succeeded"
        after = None
        if self.strikes("pending"):
            status, after = "pending", self.faults["pending"]
        elif may_fail_later and status == "succeeded" and self.strikes("refund_fails"):
            turns, after = "failed", self.faults["refund_fails"]
        turns_at = after and time.time() + after * self.server.options.turns_within
        return {"status": status, "turns": after and turns, "turns_at": turns_at}


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=8100)
    parser.add_argument("--file", default="processor.db")
    parser.add_argument("--faults", default="{}")
    parser.add_argument("--key-life", type=float, default=86400)
    parser.add_argument("--slowness", type=float, default=30)
    parser.add_argument("--turns-within", type=float, default=3 * 86400)
    parser.add_argument("--seed", default="")
    Processor(parser.parse_args()).serve_forever()
