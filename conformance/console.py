#!/usr/bin/env python3
"""Drives the console in a real Chromium, over WebDriver.

    conformance/console.py [--binary target/release/lodestore] [--screenshots DIR] [--axe axe.min.js]

Starts a server with data of every type, and checks that the page logs in, shows live figures under load, finds keys and
pages their values, keeps markup in keys as text, refuses changes until they are allowed, works on a phone and with the
keyboard, survives a lost connection, and finds one of a million keys. With axe-core (`npm pack axe-core`) every view is
checked for accessibility, too. Without chromedriver and Chromium nothing is tried, a line says so, and the exit
code is 77.
"""

import argparse
import base64
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request

MISSING = 77
PATIENCE = 30
ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
MARKUP = "<img src=x onerror=\"window.hacked=1\"><b>key"
BINARY = b"bin\xff\x00"


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Client:
    """A client of the server, as small as it gets."""

    def __init__(self, port, password):
        deadline = time.time() + PATIENCE
        while True:
            try:
                self.socket = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
                break
            except OSError:
                if time.time() > deadline:
                    raise
                time.sleep(0.05)
        self.file = self.socket.makefile("rb")
        self.run("AUTH", password)

    def run(self, *words):
        words = [word if isinstance(word, bytes) else str(word).encode() for word in words]
        request = b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)
        self.socket.sendall(request)
        return self.reply()

    def reply(self):
        line = self.file.readline()
        kind, rest = line[:1], line[1:].strip()
        if kind == b"$":
            length = int(rest)
            return None if length < 0 else self.file.read(length + 2)[:-2]
        if kind == b"*":
            return [self.reply() for _ in range(int(rest))]
        return line.strip()


class Browser:
    """A session of WebDriver."""

    def __init__(self, driver, chromium, width=1280):
        self.port = free_port()
        self.process = subprocess.Popen([driver, f"--port={self.port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        arguments = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", f"--window-size={width},900"]
        capabilities = {
            "browserName": "chrome",
            "goog:chromeOptions": {"binary": chromium, "args": arguments},
            "goog:loggingPrefs": {"browser": "ALL"},
        }
        deadline = time.time() + PATIENCE
        while True:
            try:
                made = self.call("POST", "/session", {"capabilities": {"alwaysMatch": capabilities}}, session="")
                break
            except (urllib.error.URLError, ConnectionError):
                if time.time() > deadline:
                    raise
                time.sleep(0.2)
        self.session = made["sessionId"]

    def call(self, method, path, body=None, session=None):
        prefix = f"/session/{self.session}" if session is None else session
        data = json.dumps(body if body is not None else {}).encode() if method == "POST" else None
        url = f"http://127.0.0.1:{self.port}{prefix}{path}"
        request = urllib.request.Request(url, data=data, method=method, headers={"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            raise RuntimeError(f"{path}: {error.read().decode()[:400]}") from None

    def open(self, url):
        self.call("POST", "/url", {"url": url})

    def js(self, script, *args):
        return self.call("POST", "/execute/sync", {"script": script, "args": list(args)})

    def find(self, css):
        return self.call("POST", "/element", {"using": "css selector", "value": css})[ELEMENT]

    def click(self, css):
        self.call("POST", f"/element/{self.find(css)}/click")

    def type(self, css, text):
        self.call("POST", f"/element/{self.find(css)}/value", {"text": text})

    def wait(self, what, script, *args):
        deadline = time.time() + PATIENCE
        while True:
            value = self.js(script, *args)
            if value:
                return value
            if time.time() > deadline:
                text = self.js("return document.body.innerText.slice(0, 1500)")
                raise AssertionError(f"{what} did not come; the page says:\n{text}")
            time.sleep(0.1)

    def wait_text(self, text):
        self.wait(f"'{text}'", "return document.body.innerText.includes(arguments[0])", text)

    def tab(self, name):
        self.js("document.querySelector(`[role=tab][data-name=${arguments[0]}]`).click()", name)

    def choose(self, text):
        """Clicks the key with this text."""
        self.wait(f"the key {text}", "return [...document.querySelectorAll('#key-list button')].some((one) => one.textContent === arguments[0])", text)
        self.js("[...document.querySelectorAll('#key-list button')].find((one) => one.textContent === arguments[0]).click()", text)
        self.wait(f"the value of {text}", "return document.querySelector('#key-value h2')?.textContent === arguments[0] && document.querySelector('#values table') !== null", text)

    def media(self, scheme, width, height=900, is_mobile=False):
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.call("POST", "/goog/cdp/execute", {"cmd": "Emulation.setEmulatedMedia", "params": {"features": features}})
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": is_mobile}
        self.call("POST", "/goog/cdp/execute", {"cmd": "Emulation.setDeviceMetricsOverride", "params": metrics})

    def screenshot(self, path):
        with open(path, "wb") as file:
            file.write(base64.b64decode(self.call("GET", "/screenshot")))

    def errors(self):
        entries = self.call("POST", "/se/log", {"type": "browser"})
        # A refused login and a lost connection are logged by the browser itself.
        expected = ("401", "ERR_CONNECTION", "Failed to load resource")
        return [one["message"] for one in entries if one["level"] == "SEVERE" and not any(word in one["message"] for word in expected)]

    def close(self):
        try:
            self.call("DELETE", "")
        except (RuntimeError, OSError):
            pass
        self.process.terminate()
        self.process.wait()


class Server:
    def __init__(self, binary, directory):
        self.binary, self.directory = binary, directory
        self.port, self.http = free_port(), free_port()
        self.start()

    def start(self):
        self.process = subprocess.Popen(
            [self.binary, "--port", str(self.port), "--http-port", str(self.http), "--dir", self.directory,
             "--requirepass", "secret", "--enable-debug-command", "local", "--hash-seed", "console", "--loglevel", "warning"],
            stdout=subprocess.DEVNULL)

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait()


def fill(client):
    client.run("SET", MARKUP, "<script>window.hacked=1</script>")
    client.run("SET", BINARY, b"\x00\xff\x01value")
    client.run("SETRANGE", "big:string", 49_999_999, "x")
    for i in range(250):
        client.run("RPUSH", "a:list", f"element {i}")
        client.run("SADD", "a:set", f"member {i}")
        client.run("ZADD", "a:zset", i, f"member {i}")
        client.run("HSET", "a:hash", f"field {i}", f"<i>value {i}</i>")
        client.run("XADD", "a:stream", f"{i + 1}-1", "field", f"value {i}")
    client.run("EXPIRE", "a:hash", 100000)
    for i in range(3000):
        client.run("SET", f"many:{i}", "v")
    client.run("CONFIG", "SET", "slowlog-log-slower-than", "0")
    client.run("GET", "many:1")
    client.run("CONFIG", "SET", "slowlog-log-slower-than", "10000")


class Load(threading.Thread):
    def __init__(self, port):
        super().__init__(daemon=True)
        self.client, self.goes_on = Client(port, "secret"), True

    def run(self):
        while self.goes_on:
            self.client.run("GET", "many:7")


def logs_in(browser, url):
    browser.open(url)
    browser.wait("the login", "return document.getElementById('login').open")
    for password, opens in (("wrong", True), ("secret", False)):
        browser.type("#password", password)
        browser.click("#login-form button")
        if opens:
            browser.wait_text("Wrong user or password")
    browser.wait("the figures", "return document.getElementById('figures') !== null")


def figures_move(browser, load):
    rate = "return Number(document.querySelector('#figures .figure b').textContent.replaceAll(',', ''))"
    browser.wait("a rate under load", rate + " > 100")
    load.goes_on = False
    load.join()
    browser.wait("a rate without load", rate + " < 50")


def every_view_draws(browser):
    for name, text in [("commands", "hset"), ("memory", "Memory by kind"), ("clients", "Clients ("), ("durability", "aof_enabled"),
                       ("slow", "many:1"), ("heavy", "big:string"), ("overview", "commands a second")]:
        browser.tab(name)
        browser.wait_text(text)


def keys_are_found_and_paged(browser):
    browser.tab("keys")
    browser.wait("keys", "return document.querySelectorAll('#key-list li').length > 50")
    for kind, key, first, last in [("list", "a:list", "element 0", "element 249"), ("set", "a:set", "member 1", None),
                                   ("zset", "a:zset", "member 0", "member 249"), ("hash", "a:hash", "<i>value", None),
                                   ("stream", "a:stream", "field: value 0", "field: value 249")]:
        browser.js("document.getElementById('pattern').value = 'a:*'; document.getElementById('kind').value = arguments[0]", kind)
        browser.click("form button")
        browser.choose(key)
        browser.wait_text(first)
        for _ in range(20):
            if not browser.js("const more = document.querySelector('#values button.more'); if (more) more.click(); return Boolean(more)"):
                break
            time.sleep(0.2)
        rows = "return document.querySelectorAll('#values tbody tr').length"
        browser.wait(f"250 rows of {key}", rows + " === 250")
        if last:
            browser.wait_text(last)
    assert browser.js("return document.getElementById('key-facts').textContent").startswith("stream, stream")
    browser.js("document.getElementById('pattern').value = '*'; document.getElementById('kind').value = 'string'")
    browser.js("document.getElementById('pattern').value = 'b*'")
    browser.click("form button")
    browser.choose("bin\\xff\\x00")
    browser.wait_text("\\x00\\xff\\x01value")
    browser.choose("big:string")
    browser.wait_text("MiB")
    assert browser.js("return document.getElementById('values').textContent.length") < 100_000
    browser.js("document.getElementById('pattern').value = '<*'")
    browser.click("form button")
    browser.choose(MARKUP)
    browser.wait_text("<script>window.hacked=1</script>")
    assert browser.js("return document.querySelectorAll('main img, main script, main i').length") == 0
    assert browser.js("return window.hacked === undefined")


def commands_run(browser, client):
    browser.tab("line")
    browser.wait("the command line", "return document.activeElement?.id === 'line'")
    browser.type("#line", "zadd")
    browser.wait_text("ZADD key")
    browser.js("document.getElementById('line').value = ''")
    browser.type("#line", "set \"a\\x00b\" 'v w'\ue007")
    browser.wait_text("allow changes in the console first")
    browser.click("#writes")
    browser.type("#line", "set \"a\\x00b\" 'v w'\ue007")
    browser.wait_text("OK")
    assert client.run("GET", b"a\x00b") == b"v w"
    browser.type("#line", "hgetall a:hash\ue007")
    browser.wait_text("field 1 => <i>value 1</i>")
    browser.type("#line", "\ue013")
    assert browser.js("return document.getElementById('line').value") == "hgetall a:hash"
    browser.js("document.getElementById('line').value = ''")


def keyboard_is_enough(browser):
    browser.js("document.querySelector('[role=tab][aria-selected=true]').focus()")
    browser.js("document.activeElement.dispatchEvent(new KeyboardEvent('keydown', {key: 'ArrowRight', bubbles: true}))")
    browser.wait_text("commands a second")
    assert browser.js("return document.activeElement.dataset.name") == "overview"
    unnamed = browser.js("""return [...document.querySelectorAll('button, input, select')].filter((one) => one.offsetParent
        && !one.textContent.trim() && !one.labels?.length && !one.getAttribute('aria-label')).map((one) => one.outerHTML)""")
    assert unnamed == [], unnamed


def fits_screens(browser, directory):
    for name, scheme, width, is_mobile in [("phone", "dark", 360, True), ("desk", "light", 1280, False), ("wall", "dark", 2560, False)]:
        browser.media(scheme, width, 900 if width < 2000 else 1400, is_mobile)
        for tab in ["overview", "memory", "keys"]:
            browser.tab(tab)
            time.sleep(0.5)
            over = browser.js("return document.documentElement.scrollWidth - innerWidth")
            assert over <= 0, f"{tab} is {over} pixels too wide on a {name}"
            if directory:
                browser.screenshot(os.path.join(directory, f"console-{tab}-{name}.png"))
        back = browser.js("return getComputedStyle(document.body).backgroundColor")
        is_dark = int(back.split("(")[1].split(",")[0]) < 128
        assert is_dark == (scheme == "dark"), back
    browser.media("light", 1280)


def is_accessible(browser, axe):
    """Runs axe-core over every view, light and dark."""
    with open(axe, encoding="utf-8") as file:
        browser.js(file.read() + "; window.axe = axe")
    violations = []
    for scheme in ["light", "dark"]:
        browser.media(scheme, 1280)
        for tab in ["overview", "commands", "memory", "clients", "durability", "slow", "heavy", "keys", "line"]:
            browser.tab(tab)
            time.sleep(0.5)
            found = browser.call("POST", "/execute/async", {"script": """const done = arguments[0];
                axe.run(document).then((all) => done(all.violations.map((one) => `${one.id} (${one.impact}): ${one.nodes.slice(0, 3).map((node) => node.html).join(' ')}`)),
                    (error) => done([String(error)]))""", "args": []})
            violations += [f"{tab}, {scheme}: {one}" for one in found]
    browser.media("light", 1280)
    assert violations == [], "\n".join(violations)


def one_of_a_million_is_found(browser, client):
    client.run("DEBUG", "POPULATE", "1000000", "million", "10")
    browser.tab("keys")
    for pattern, key in [("million:777777", "million:777777"), ("*on:777?77", "million:777777"), ("*", None)]:
        browser.js("document.getElementById('kind').value = ''; document.getElementById('pattern').value = arguments[0]", pattern)
        browser.click("form button")
        if key:
            # A pattern looks at all keys, some seconds for each click.
            listed = "return [...document.querySelectorAll('#key-list button')].some((one) => one.textContent === arguments[0])"
            browser.wait("the key", "const more = document.getElementById('key-more'); if (more && !more.hidden && !more.disabled) more.click(); " + listed, key)
            browser.choose(key)
        else:
            browser.wait("keys", "return document.querySelectorAll('#key-list button').length > 50")
    assert browser.js("return document.querySelectorAll('#key-list button').length") < 2000


def lost_connections_come_back(browser, server):
    browser.tab("overview")
    server.stop()
    browser.wait_text("The connection is lost")
    server.start()
    browser.wait("live figures", "return document.getElementById('state').textContent.startsWith('Live')")


def main():
    parser = argparse.ArgumentParser()
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    parser.add_argument("--binary", default=os.path.join(root, "target/release/lodestore"))
    parser.add_argument("--screenshots")
    parser.add_argument("--axe")
    options = parser.parse_args()
    driver = shutil.which("chromedriver")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if not driver or not chromium:
        print("SKIPPED: there is no chromedriver or no Chromium (Debian: apt install chromium chromium-driver)")
        return MISSING
    if not os.access(options.binary, os.X_OK):
        sys.exit(f"no server at {options.binary}: cargo build --release -p lodestore")
    if options.screenshots:
        os.makedirs(options.screenshots, exist_ok=True)
    with tempfile.TemporaryDirectory() as directory:
        server = Server(options.binary, directory)
        browser = None
        try:
            client = Client(server.port, "secret")
            fill(client)
            load = Load(server.port)
            load.start()
            browser = Browser(driver, chromium)
            steps = [
                ("logs in, and says why not", lambda: logs_in(browser, f"http://127.0.0.1:{server.http}/console")),
                ("figures move under load", lambda: figures_move(browser, load)),
                ("every view draws", lambda: every_view_draws(browser)),
                ("keys of every type are found and paged, markup is text", lambda: keys_are_found_and_paged(browser)),
                ("commands run, with hints, changes when they are allowed", lambda: commands_run(browser, client)),
                ("the keyboard is enough", lambda: keyboard_is_enough(browser)),
                ("phone, desk and wall, light and dark", lambda: fits_screens(browser, options.screenshots)),
                ("one of a million keys is found", lambda: one_of_a_million_is_found(browser, client)),
                ("a lost connection comes back", lambda: lost_connections_come_back(browser, server)),
            ]
            if options.axe:
                steps.insert(-2, ("every view is accessible", lambda: is_accessible(browser, options.axe)))
            else:
                print("SKIPPED: accessibility needs --axe axe.min.js (npm pack axe-core)")
            for name, step in steps:
                step()
                print(f"ok       {name}", flush=True)
            errors = browser.errors()
            assert errors == [], errors
            print("ok       no errors in the browser's log")
        finally:
            if browser:
                browser.close()
            server.process.kill()
            server.process.wait()
    return 0


if __name__ == "__main__":
    sys.exit(main())
