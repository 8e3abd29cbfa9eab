"""Headless Chromium, by its DevTools protocol over a pipe. It needs Python's library alone.

    browser = Browser(directory)        # an empty one, for the profile
    page = browser.page(1280, 900)
    page.open(url)
    page.evaluate("document.title")
"""
import base64
import fcntl
import json
import os
import select
import shutil
import subprocess
import time

NAMES = "chromium-headless-shell", "chromium"
PATIENCE = 20       # seconds for any answer, and for any wait
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-quic", "--no-first-run",
         "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-extensions",
         "--mute-audio", "--hide-scrollbars", "--remote-debugging-pipe"]


def program():
    """The path of a Chromium."""
    found = list(filter(None, map(shutil.which, NAMES)))
    if not found:
        raise RuntimeError("there is no browser: install chromium-headless-shell")
    return found[0]


class Browser:
    def __init__(self, directory):
        # It reads from its file 3 and writes to its file 4, each message ended by a NUL.
        from_us, self.to_browser = os.pipe()
        self.from_browser, to_us = os.pipe()
        from_us, to_us = move(from_us), move(to_us)

        def files():
            os.dup2(from_us, 3)
            os.dup2(to_us, 4)

        self.log = open(os.path.join(directory, "log"), "w+")
        self.process = subprocess.Popen(
            [program(), *FLAGS, "--user-data-dir=" + os.path.join(directory, "profile")], stdin=subprocess.DEVNULL,
            stdout=self.log, stderr=self.log, preexec_fn=files, close_fds=False, env={**os.environ, "HOME": directory})
        os.close(from_us)
        os.close(to_us)
        self.count = 0
        self.buffer = b""
        self.answers = {}
        self.pages = {}

    def page(self, width, height, **more):
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self.pages[session] = page = Page(self, session)
        for domain in "Page", "Runtime", "Log", "Network":
            page.call(domain + ".enable")
        page.size(width, height, **more)
        return page

    def call(self, method, session=None, **params):
        self.count += 1
        message = {"id": self.count, "method": method, "params": params, **({"sessionId": session} if session else {})}
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self.to_browser, data):]
        end = time.monotonic() + PATIENCE
        while self.count not in self.answers:
            self.read(end)
        answer = self.answers.pop(self.count)
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']}")
        return answer["result"]

    def read(self, end):
        """Reads what comes, and gives events to their pages."""
        if not select.select([self.from_browser], [], [], max(0, end - time.monotonic()))[0]:
            raise TimeoutError("the browser does not answer")
        data = os.read(self.from_browser, 1 << 16)
        if not data:
            self.log.seek(0)
            raise RuntimeError("the browser has ended: " + self.log.read()[-2000:])
        *messages, self.buffer = (self.buffer + data).split(b"\0")
        for message in map(json.loads, messages):
            if "id" in message:
                self.answers[message["id"]] = message
            elif message.get("sessionId") in self.pages:
                self.pages[message["sessionId"]].event(message["method"], message["params"])

    def close(self):
        try:
            self.call("Browser.close")
            self.process.wait(PATIENCE)
        except Exception:
            self.process.kill()
            self.process.wait()
        self.log.close()


class Page:
    def __init__(self, browser, session):
        self.browser = browser
        self.session = session
        self.requests = []          # the URL of each request
        self.complaints = []        # what the console says, exceptions, and what the browser logs

    def call(self, method, **params):
        return self.browser.call(method, self.session, **params)

    def event(self, method, params):
        if method == "Network.requestWillBeSent":
            self.requests.append((params["request"]["url"], params["request"]["headers"]))
        elif method == "Runtime.exceptionThrown":
            self.complaints.append(json.dumps(params["exceptionDetails"])[:500])
        elif method == "Runtime.consoleAPICalled":
            self.complaints.append(json.dumps(params["args"])[:500])
        elif method == "Log.entryAdded":
            self.complaints.append(f"{params['entry']['source']}: {params['entry']['text']} {params['entry'].get('url', '')}")

    def size(self, width, height, scale=1, phone=False):
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=scale, mobile=phone)

    def prefer(self, **features):
        """What the user prefers, such as prefers_color_scheme="dark"."""
        self.call("Emulation.setEmulatedMedia",
                  features=[{"name": name.replace("_", "-"), "value": value} for name, value in features.items()])

    def open(self, url):
        self.call("Page.navigate", url=url)
        self.until("document.readyState === 'complete' && location.href !== 'about:blank'")

    def evaluate(self, expression):
        result = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in result:
            raise RuntimeError(f"{expression}: {result['exceptionDetails']}")
        return result["result"].get("value")

    def until(self, expression):
        """Waits until an expression is true."""
        end = time.monotonic() + PATIENCE
        while not self.evaluate(f"!!({expression})"):
            if time.monotonic() > end:
                raise TimeoutError(expression)
            time.sleep(0.03)

    def key(self, key, code=None, text=None):
        """Presses a key, such as "Tab", or ("Enter", 13, "\\r")."""
        event = {"key": key, "code": key, **({"windowsVirtualKeyCode": code} if code else {})}
        self.call("Input.dispatchKeyEvent", type="keyDown" if text else "rawKeyDown", **event, **({"text": text} if text else {}))
        self.call("Input.dispatchKeyEvent", type="keyUp", **event)

    def click(self, selector):
        """Clicks with the mouse on the middle of an element, which must be seen."""
        x, y = self.evaluate(f"""(() => {{
            const element = document.querySelector({json.dumps(selector)});
            element.scrollIntoView({{block: 'center', behavior: 'instant'}});
            const box = element.getBoundingClientRect();
            return [box.x + box.width / 2, box.y + box.height / 2];
        }})()""")
        for kind in "mousePressed", "mouseReleased":
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def picture(self):
        """What is in the viewport, as PNG."""
        return base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"])


def move(file):
    """The same file with a number that is not 3 or 4."""
    moved = fcntl.fcntl(file, fcntl.F_DUPFD_CLOEXEC, 10)
    os.close(file)
    return moved
