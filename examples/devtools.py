"""Control Chromium over its DevTools protocol: open local pages, fill in forms, take screenshots."""

import base64
import itertools
import json
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from websockets.sync.client import connect
from websockets.sync.connection import Connection

PATIENCE_SECONDS = 60


class Tab:
    """One page of a browser, and the errors that it reported."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._ids = itertools.count(1)
        self.complaints: list[str] = []
        """Errors of the console, of scripts, of the content security policy, and of loading."""
        self.status = 0
        """The HTTP status of the last document."""
        for domain in ("Page", "Runtime", "Log", "Network", "Accessibility"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Call a DevTools method and return its answer."""
        number = next(self._ids)
        self._connection.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while True:
            answer = json.loads(self._connection.recv(PATIENCE_SECONDS))
            if answer.get("id") == number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                result: dict[str, Any] = answer["result"]
                return result
            self._hear(answer)

    def open(self, url: str) -> None:
        """Open a page and wait until it has loaded."""
        self._loaded(lambda: self.call("Page.navigate", url=url))

    def press(self, selector: str, **fields: str) -> None:
        """Fill in the form of a button, press the button, and wait for the next page."""
        script = f"""(() => {{
            const button = document.querySelector({json.dumps(selector)});
            for (const [name, value] of Object.entries({json.dumps(fields)}))
                button.form.elements[name].value = value;
            button.click();
        }})()"""
        self._loaded(lambda: self.evaluate(script))

    def evaluate(self, script: str) -> Any:
        """Return the value of an expression in the page."""
        answer = self.call("Runtime.evaluate", expression=script, returnByValue=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(answer["exceptionDetails"])
        return answer["result"].get("value")

    def text(self) -> str:
        """Return the visible text."""
        found: str = self.evaluate("document.body.innerText")
        return found

    def tree(self) -> list[tuple[str, str]]:
        """Return role and name of each node of the accessibility tree, in order."""
        nodes = self.call("Accessibility.getFullAXTree")["nodes"]
        return [
            (node["role"]["value"], node.get("name", {}).get("value", ""))
            for node in nodes
            if not node.get("ignored")
        ]

    def size(self, width: int, height: int) -> None:
        """Set the size of the screen in pixels."""
        screen = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.call("Emulation.setDeviceMetricsOverride", **screen)

    def prefer(self, scheme: str) -> None:
        """Set the preferred color scheme: `light` or `dark`."""
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.call("Emulation.setEmulatedMedia", features=features)

    def picture(self) -> bytes:
        """Return the screen as a PNG."""
        return base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"])

    def _loaded(self, act: Callable[[], object]) -> None:
        before = self.evaluate("performance.timeOrigin")
        act()
        deadline = time.monotonic() + PATIENCE_SECONDS
        script = "document.readyState == 'complete' && performance.timeOrigin"
        while time.monotonic() < deadline:
            if self.evaluate(script) not in {False, before}:
                return
            time.sleep(0.02)
        raise TimeoutError("the page did not come")

    def _hear(self, event: dict[str, Any]) -> None:
        method, said = event["method"], event["params"]
        if method == "Runtime.exceptionThrown":
            self.complaints.append(said["exceptionDetails"]["text"])
        elif method == "Log.entryAdded" and said["entry"]["level"] in {"error", "warning"}:
            self.complaints.append(said["entry"]["text"])
        elif method == "Runtime.consoleAPICalled" and said["type"] in {"error", "warning", "assert"}:
            self.complaints.append(str(said["args"]))
        elif method == "Network.responseReceived" and said["type"] == "Document":
            self.status = said["response"]["status"]


@contextmanager
def browser(program: str) -> Iterator[Tab]:
    """Yield a tab of a headless Chromium with a temporary profile."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        process = subprocess.Popen(
            [
                program,
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--hide-scrollbars",
                "--disable-background-networking",
                "--remote-debugging-port=0",
                f"--user-data-dir={folder}",
                "about:blank",
            ],
            stderr=subprocess.DEVNULL,
        )
        try:
            port_file = Path(folder) / "DevToolsActivePort"
            deadline = time.monotonic() + PATIENCE_SECONDS
            while not (port_file.exists() and port_file.read_text(encoding="ascii").count("\n")):
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError("Chromium did not start")
                time.sleep(0.05)
            port = port_file.read_text(encoding="ascii").split()[0]
            target = httpx.put(f"http://127.0.0.1:{port}/json/new?about:blank").json()
            with connect(target["webSocketDebuggerUrl"], max_size=None) as connection:
                yield Tab(connection)
        finally:
            process.terminate()
            process.wait()
