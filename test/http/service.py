"""A service that is tested over HTTP: how to start it, to ask it, to see its database, and to print TAP.

The service listens on 127.0.0.1:$PORT. A superuser runs this. The database is the one that libpq's environment names.
"""
import http.client
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

count = failed = 0


def ok(passed, name, got=None):
    global count, failed
    count += 1
    if not passed:
        failed += 1
        print(f"# got: {got!r}")
    print(("" if passed else "not ") + f"ok {count} - {name}", flush=True)


def equal(got, expected, name):
    ok(got == expected, name, got)


def wait_until(condition, what):
    for _ in range(500):
        if condition():
            return
        time.sleep(0.02)
    raise TimeoutError(what)


# The database, as the superuser sees it

PSQL = ["psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1"]


def sql(query):
    return subprocess.run(PSQL + ["-c", query], check=True, stdout=subprocess.PIPE, text=True, timeout=10).stdout.strip()


class Lock:
    """Locks a table, so that everyone who writes to it waits."""

    def __init__(self, table):
        self.psql = subprocess.Popen(PSQL, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.psql.stdin.write(f"BEGIN;\nLOCK TABLE {table};\nSELECT 'locked';\n")
        self.psql.stdin.flush()
        assert self.psql.stdout.readline() == "locked\n"

    def release(self):
        self.psql.communicate("ROLLBACK;\n", timeout=10)


def sessions(condition="true"):
    return int(sql(f"SELECT count(*) FROM pg_stat_activity WHERE usename = 'shop' AND {condition}"))


def blocked():
    return sessions("wait_event_type = 'Lock'")


def end_sessions():
    """Ends the service's sessions, as an administrator or a restart does."""
    pids = sql("SELECT string_agg(pid::text, ',') FROM pg_stat_activity WHERE usename = 'shop'") or "0"
    sql(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'shop' AND pid IN ({pids})")
    # not by the function's timeout: it fails if another user's process gets the number
    wait_until(lambda: sessions(f"pid IN ({pids})") == 0, "the sessions do not end")


# The service

class Service:
    """The service that the command line starts."""

    def __init__(self):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.log = tempfile.TemporaryFile()

    def start(self):
        self.process = subprocess.Popen(
            sys.argv[1:], env={**os.environ, "PGUSER": "shop", "PORT": str(self.port)}, stdout=self.log, stderr=self.log)
        wait_until(lambda: self.listens() or self.has_ended(), "the service does not start")
        if self.has_ended():
            sys.stderr.write(self.said())
            raise RuntimeError("the service has ended")

    def said(self):
        """What the service has printed. (To seek would move the place where it writes, as it shares the open file.)"""
        log = self.log.fileno()
        return os.pread(log, os.fstat(log).st_size, 0).decode(errors="replace")

    def has_ended(self):
        return self.process.poll() is not None

    def listens(self):
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
            return True
        except OSError:
            return False

    def stop(self, how=signal.SIGTERM):
        if self.has_ended():
            return
        self.process.send_signal(how)
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


service = Service()


class Answer:
    def __init__(self, response):
        self.status = response.status
        self.body = response.read()
        self.replayed = response.getheader("Idempotent-Replayed") == "true"
        self.retry_after = response.getheader("Retry-After")
        self.location = response.getheader("Location")
        self.type = response.getheader("Content-Type")
        self.headers = [(name.lower(), value) for name, value in response.getheaders()]

    def header(self, name):
        """All values of a header."""
        return [value for other, value in self.headers if other == name]

    def json(self):
        return json.loads(self.body)

    def __repr__(self):
        return f"{self.status} {self.body!r} replayed={self.replayed}"


def encode(body):
    return body if isinstance(body, (bytes, type(None))) else body.encode() if isinstance(body, str) else json.dumps(body).encode()


def send(method, path, body=None, key=None, headers={}):
    headers = {"Content-Type": "application/json", **headers} if body is not None else dict(headers)
    if key is not None:
        headers["Idempotency-Key"] = key
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=10)
    try:
        connection.request(method, path, encode(body), headers)
        return Answer(connection.getresponse())
    finally:
        connection.close()


def send_till_done(*request):
    """Sends the same request again until it is answered for good, as a client should."""
    for _ in range(300):
        try:
            answer = send(*request)
            if not answer.retry_after:
                return answer
        except (OSError, http.client.HTTPException):
            pass
        time.sleep(random.uniform(0.01, 0.05))
    raise TimeoutError("no answer")


def send_and_cut(method, path, body, key):
    """Sends a request, and returns the connection for the caller to close without reading."""
    body = encode(body)
    connection = socket.create_connection(("127.0.0.1", service.port), 10)
    connection.sendall(f"{method} {path} HTTP/1.1\r\nHost: x\r\nIdempotency-Key: {key}\r\n"
                       f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
    return connection


def at_once(number, work):
    results = []
    threads = [threading.Thread(target=lambda: results.append(work()), daemon=True) for _ in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(15)
    return results


def run(test):
    """Starts the service, runs the test, and ends both."""
    try:
        service.start()
        test()
        print(f"1..{count}", flush=True)
    finally:
        service.stop()
        if failed or sys.exc_info()[0]:
            sys.stderr.write(service.said())
    sys.exit(1 if failed else 0)
