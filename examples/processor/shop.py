#!/usr/bin/python3
"""A shop that charges cards through a processor, each order once.

place() holds the amount, pay() charges the card, refund() gives money back. Each may be called again, by anybody, at
any time, and gives the same answer. What they leave undone is finished by worker.py.

As a program, it reads one call a line, and prints the answers. It connects as libpq's environment says.

    place order-17 19.99 EUR visa
    pay order-17
    refund order-17 order-17-refund-1 5.00
"""
import http.client
import json
import os
import random
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from datetime import timedelta
from decimal import Decimal

import psycopg
from psycopg.rows import namedtuple_row

PROCESSOR = os.environ.get("PROCESSOR", "http://127.0.0.1:8100")
TIMEOUT = float(os.environ.get("SHOP_TIMEOUT", "10"))           # seconds, of a call of the processor
LEASE = timedelta(seconds=float(os.environ.get("SHOP_LEASE", "40")))    # longer than a look-up and a call
HOLD = os.environ.get("SHOP_HOLD", "15 minutes")                # the time to pay an order that was placed
CHARGE_HOLD = os.environ.get("SHOP_CHARGE_HOLD", "7 days")      # the time to find out whether it was charged
PAUSES = [float(pause) for pause in os.environ.get("SHOP_PAUSES", "0 0.5 2").split()]   # seconds, before each try


class NotKnown(Exception):
    """Nobody knows yet whether it was done. Never charge again for that: worker.py finds out."""


class NoSuchOrder(Exception):
    pass


# The database

# serialization failure, deadlock, lock_timeout, statement_timeout
RETRY = ("40001", "40P01", "55P03", "57014")


def may_retry(error):
    state = error.sqlstate
    if state is None:       # the connection is lost: nobody knows what happened
        return isinstance(error, (psycopg.OperationalError, psycopg.InterfaceError))
    return state in RETRY or state.startswith(("08", "57P0"))


def once(work, tries=8):
    """Runs a transaction until its outcome is known. The keys in it make that safe."""
    for number in range(1, tries + 1):
        try:
            with psycopg.connect(connect_timeout=2, options="-c statement_timeout=10s",
                                 row_factory=namedtuple_row) as connection:
                return work(connection)
        except psycopg.Error as error:
            if error.sqlstate == "ID409":       # somebody else has the lease
                raise NotKnown("somebody else is at it") from error
            if number == tries or not may_retry(error):
                raise
        time.sleep(random.uniform(0, min(5, 0.05 * 2**number)))


# The processor

def call(method, path, body=None, key=None):
    """Calls the processor. Returns its answer, also if the bank says no. NotKnown: there is no answer."""
    request = urllib.request.Request(
        PROCESSOR + path, method=method, data=None if body is None else json.dumps(body).encode(),
        headers={} if key is None else {"Idempotency-Key": key})
    try:
        try:
            response = urllib.request.urlopen(request, timeout=TIMEOUT)
        except urllib.error.HTTPError as error:
            if error.code != 402:
                raise
            response = error        # declined
        with response:
            return json.load(response)
    except urllib.error.HTTPError as error:
        if error.code in (409, 429) or error.code >= 500:
            raise NotKnown(f"the processor answers {error.code}") from error
        raise                       # a bug of ours: nothing was done, and a retry does not help
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise NotKnown(f"no answer of the processor: {error!r}") from error


def find(path, **reference):
    """Looks up at the processor what we may have sent before, by our reference."""
    found = call("GET", f"{path}?{urllib.parse.urlencode(reference)}")
    if not isinstance(found, list):
        raise NotKnown(f"the processor answers {found}")
    return final(found[0]) if found else None


def final(made):
    """Returns a charge or a refund that has come to an end. NotKnown: it is pending, or the answer is another one."""
    if isinstance(made, dict) and "id" in made and made.get("status") in ("succeeded", "failed"):
        return made
    raise NotKnown(f"the processor answers {made}")


# Orders

def place(order_id, amount, currency, card):
    """Holds the amount. The order and its hold are one transaction."""
    def work(connection):
        connection.execute(
            """INSERT INTO orders (order_id, amount, currency, card, payment_id)
               SELECT a.key, a.amount, a.currency, a.metadata->>'card', a.payment_id
               FROM idem_authorize(%(order_id)s, %(amount)s, %(currency)s, expires_in => %(hold)s,
                    reference => %(order_id)s, metadata => json_build_object('card', %(card)s::text)) a
               ON CONFLICT DO NOTHING""",
            {"order_id": order_id, "amount": amount, "currency": currency, "card": card, "hold": HOLD})
        return answer(read(connection, order_id))
    return once(work)


def pay(order_id):
    """Charges the card of an order."""
    order = once(lambda connection: begin(connection, order_id))
    return finish(order, PAUSES)


def begin(connection, order_id, lease=LEASE):
    """Takes the order under a lease. From here its card may be charged, and the hold lasts until we know."""
    order = connection.execute(
        """SELECT o.*, b.outcome, b.attempt
           FROM (SELECT * FROM orders WHERE order_id = %s FOR NO KEY UPDATE) o,
               idem_begin(o.order_id, json_build_object('amount', o.amount, 'currency', o.currency, 'card', o.card),
                   lease => %s) b""", [order_id, lease]).fetchone()
    if not order:
        raise NoSuchOrder(order_id)
    if order.outcome in ("completed", "failed"):
        return order
    if order.state == "placed":
        held, = connection.execute(
            "SELECT status FROM idem_increase(%s || '-charging', %s, expires_in => %s, declines => 'record')",
            [order_id, order.payment_id, CHARGE_HOLD]).fetchone()
        if held == "declined":
            return conclude(connection, order, "expired")
        connection.execute("UPDATE orders SET state = 'charging' WHERE order_id = %s", [order_id])
    elif order.state != "charging":     # it was ended long ago, and the request is forgotten
        return conclude(connection, order, order.state, order.charge)
    return order                        # with the state from before: "charging" if it may have been charged


def finish(order, pauses):
    """Charges the card of an order that was begun, or finds out that it was charged. Books that, and answers."""
    if order.outcome not in ("new", "resumed"):
        return answer(order)
    made = charge(order, pauses)
    state = "paid" if made["status"] == "succeeded" else "declined"
    return answer(once(lambda connection: end(connection, order, state, made["id"])))


def charge(order, pauses):
    """Returns the charge, which may be declined. NotKnown: it may have been made or not.

    What the look-up does not find, the processor's key guards: the call follows before that key is forgotten."""
    unknown = None
    for number, pause in enumerate(pauses):
        time.sleep(pause)
        try:
            kept_at = time.monotonic()
            once(lambda connection: keep(connection, order))
            if order.state == "charging" or number > 0:     # it may have been sent before
                found = find("/charges", order=order.order_id)
                if found:
                    return found
            if time.monotonic() - kept_at > LEASE.total_seconds():
                raise NotKnown("it hung before the call, so what it has looked up is old")
            return final(call("POST", "/charges", {"amount": str(order.amount), "currency": order.currency,
                                                   "card": order.card, "order": order.order_id}, key_of_charge(order)))
        except NotKnown as error:
            unknown = error
    raise unknown


def key_of_charge(order):
    """The processor's key: the same for each attempt, for ever."""
    return f"{order.order_id}-charge"


def keep(connection, order):
    """Renews the lease and notes the call. ID412: another attempt has the order now, so do not send."""
    connection.execute("SELECT idem_renew(%s, %s, %s)", [order.order_id, LEASE, order.attempt])
    connection.execute("SELECT idem_checkpoint(%s, 'calling', json_build_object('key', %s::text, 'at', now()), %s)",
                       [order.order_id, key_of_charge(order), order.attempt])


def end(connection, order, state, charge_id=None):
    """Books the processor's answer and stores ours, in one transaction."""
    ended = conclude(connection, order, state, charge_id)
    if state == "declined":
        connection.execute("SELECT idem_void(%s || '-void', %s, declines => 'record')",
                           [order.order_id, order.payment_id])
        return ended
    captured, = connection.execute("SELECT status FROM idem_capture(%s || '-capture', %s, declines => 'record')",
                                   [order.order_id, order.payment_id]).fetchone()
    if captured == "declined":          # the hold has expired, but the card was charged: book what has happened
        connection.execute(
            """UPDATE orders SET payment_id = p.payment_id
               FROM idem_pay(%(order_id)s || '-late', %(amount)s, %(currency)s, reference => %(order_id)s) p
               WHERE order_id = %(order_id)s""", order._asdict())
    return ended


def conclude(connection, order, state, charge_id=None):
    """Stores our answer. ID412: another attempt has the order now, and nothing of this transaction happens."""
    connection.execute("UPDATE orders SET state = %s, charge = %s WHERE order_id = %s",
                       [state, charge_id, order.order_id])
    ended = order._replace(state=state, charge=charge_id, outcome="completed" if state == "paid" else "failed")
    function = "idem_complete" if state == "paid" else "idem_fail"
    connection.execute(f"SELECT {function}(%s, %s, %s)", [order.order_id, json.dumps(answer(ended)), order.attempt])
    return ended


def read(connection, order_id):
    return connection.execute("SELECT * FROM orders WHERE order_id = %s", [order_id]).fetchone()


def answer(order):
    return {"order": order.order_id, "status": order.state, "amount": str(order.amount), "currency": order.currency,
            "charge": order.charge}


# Refunds

def refund(order_id, refund_id, amount):
    """Books a refund, and puts it into the outbox. ID412 if the order has not that much to give back."""
    def work(connection):
        row = connection.execute(
            """WITH booked AS (
                   SELECT r.key, o.order_id, r.amount, r.currency
                   FROM orders o, idem_refund(%(refund_id)s, o.payment_id, %(amount)s) r
                   WHERE o.order_id = %(order_id)s),
               sent AS (
                   INSERT INTO refunds (refund_id, order_id, amount) SELECT key, order_id, amount FROM booked
                   ON CONFLICT DO NOTHING)
               SELECT * FROM booked""",
            {"order_id": order_id, "refund_id": refund_id, "amount": amount}).fetchone()
        if not row:
            raise NoSuchOrder(order_id)
        return {"order": row.order_id, "refund": row.key, "amount": str(row.amount), "currency": row.currency}
    return once(work)


# The program

def serve(name, order_id, *arguments):
    try:
        if name == "place":
            amount, currency, card = arguments
            return place(order_id, Decimal(amount), currency, card)
        if name == "refund":
            refund_id, amount = arguments
            return refund(order_id, refund_id, Decimal(amount))
        return pay(order_id)
    except NotKnown as error:
        return {"order": order_id, "status": "in progress", "why": str(error)}
    except urllib.error.HTTPError as error:
        return {"order": order_id, "status": "error", "why": f"the processor answers {error.code}"}
    except NoSuchOrder:
        return {"order": order_id, "status": "error", "why": "no such order"}
    except psycopg.Error as error:
        # the database does not answer; or another attempt has the order
        in_progress = may_retry(error) or error.sqlstate == "ID412" and name == "pay"
        return {"order": order_id, "status": "in progress" if in_progress else "error", "why": str(error)}


if __name__ == "__main__":
    for line in sys.stdin:
        print(json.dumps(serve(*line.split())), flush=True)
