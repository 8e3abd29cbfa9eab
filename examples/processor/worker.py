#!/usr/bin/python3
"""Finishes what the shop has left undone. Run one of it, or several, for ever.

    worker.py                       does a round every second
    worker.py once                  does one round
    worker.py give-up order-17      ends an order that the processor does not know
"""
import os
import sys
import time
from datetime import timedelta

import shop
from shop import NotKnown, once

PAUSE = float(os.environ.get("WORKER_PAUSE", "1"))
# A refund is tried again after so many seconds. A try ends before that: it is two calls.
REFUND_AGAIN = 3 * shop.TIMEOUT
# No call of the processor is still on its way after so many seconds.
ON_ITS_WAY = float(os.environ.get("WORKER_ON_ITS_WAY", "600"))


def say(what):
    print(what, flush=True)


def try_to(work, *arguments):
    """Does one thing. What goes wrong is reported, and done again in a later round. It does not stop the others."""
    try:
        return work(*arguments)
    except Exception as error:
        what = f"{type(error).__name__}: {error}".partition("\n")[0]
        say(f"{work.__name__} {' '.join(map(str, arguments))}: {what}")


def finish_abandoned():
    """Orders that a shop or a worker has begun, and whose lease has lapsed. If each tenant has a scope, do this for
    each of them."""
    for row in once(lambda connection: connection.execute("SELECT key FROM idem_abandoned(100)").fetchall()):
        try_to(finish, row.key)


def finish(order_id):
    order = once(lambda connection: shop.begin(connection, order_id))
    answer = shop.finish(order, pauses=[0])
    say(f"{order_id}: finished, {answer['status']}")


def send_refunds():
    """The outbox: each refund is sent under the same key until there is an answer."""
    while True:
        taken_at = time.monotonic()
        refund = once(take_refund)
        if not refund:
            return
        try_to(send_refund, *refund, taken_at)


def take_refund(connection):
    return connection.execute(
        """UPDATE refunds r SET tries = tries + 1, due_at = now() + make_interval(secs => %s)
           FROM orders o
           WHERE o.order_id = r.order_id AND refund_id = (
               SELECT refund_id FROM refunds WHERE state = 'asked' AND due_at <= now()
               ORDER BY due_at LIMIT 1 FOR UPDATE SKIP LOCKED)
           RETURNING r.refund_id, o.charge, r.amount, r.tries""", [REFUND_AGAIN]).fetchone()


def send_refund(refund_id, charge, amount, tries, taken_at):
    made = shop.find("/refunds", refund=refund_id) if tries > 1 else None    # it may have been sent before
    if not made:
        if time.monotonic() - taken_at > REFUND_AGAIN:
            raise NotKnown("it hung before the call, so what it has looked up is old")
        made = shop.final(shop.call(
            "POST", "/refunds", {"charge": charge, "amount": str(amount), "refund": refund_id}, refund_id))
    once(lambda connection: end_refund(connection, refund_id, made["status"] == "failed"))


def end_refund(connection, refund_id, failed):
    """Books how a refund has ended. One that has failed stays so; ask for it again with a new id."""
    if not failed:
        connection.execute("UPDATE refunds SET state = 'done' WHERE refund_id = %s AND state = 'asked'", [refund_id])
    elif connection.execute("UPDATE refunds SET state = 'failed' WHERE refund_id = %s", [refund_id]).rowcount:
        connection.execute("SELECT idem_cancel(%s)", [refund_id])


def read_events():
    """What has happened at the processor since. An event and how far we have read are one transaction. The events
    must be numbered as they are committed. If not, begin some minutes back: it does no harm to read one twice."""
    while True:
        seen, = once(lambda connection: connection.execute("SELECT seen FROM processor_event").fetchone())
        events = shop.call("GET", f"/events?after={seen}")
        if not events:
            return
        for event in events:
            if event["type"].startswith("charge."):
                try_to(finish, event["order"])      # while somebody has its lease, it is left to finish_abandoned
            once(lambda connection: read_event(connection, event))


def read_event(connection, event):
    if event["type"] == "refund.failed":
        end_refund(connection, event["refund"], failed=True)
        say(f"{event['refund']}: the refund has failed")
    connection.execute("UPDATE processor_event SET seen = greatest(seen, %s)", [event["id"]])


def expire():
    """Orders that nobody has paid in time, and old requests. (The extension's own worker does the first two things.)"""
    once(lambda connection: connection.execute("SELECT idem_expire()"))
    once(lambda connection: connection.execute("SELECT idem_purge()"))
    once(lambda connection: connection.execute(
        """UPDATE orders SET state = 'expired'
           WHERE state = 'placed' AND (SELECT status FROM idem_payment(payment_id)) = 'expired'"""))


def give_up(order_id):
    """Ends an order that the processor does not know. A call may still be on its way. So nobody may call for a while
    before we look: we have the lease."""
    lease = timedelta(seconds=ON_ITS_WAY + 600)
    order = until_known(lambda: once(lambda connection: shop.begin(connection, order_id, lease)))
    if order.outcome in ("new", "resumed"):
        time.sleep(ON_ITS_WAY)
        if not until_known(lambda: shop.find("/charges", order=order_id)):
            return shop.answer(once(lambda connection: shop.end(connection, order, "declined")))
    return shop.finish(order, pauses=[0])


def until_known(work):
    while True:
        try:
            return work()
        except NotKnown:            # a worker has the lease, the processor does not answer, or the charge is pending
            time.sleep(PAUSE)


def work():
    for part in (finish_abandoned, send_refunds, read_events, expire):
        try_to(part)


if __name__ == "__main__":
    if sys.argv[1:2] == ["give-up"]:
        say(give_up(sys.argv[2]))
    elif sys.argv[1:] == ["once"]:
        work()
    else:
        while True:
            work()
            time.sleep(PAUSE)
