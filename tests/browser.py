"""A headless Chromium, driven by its DevTools protocol."""

import asyncio
import base64
import json
import re
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import ClientSession, ClientWebSocketResponse

CHROMIUM = shutil.which("chromium")
OPTIONS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--window-size=1280,1400",
    "--remote-debugging-port=0",
)
WATCH = """
  window.violations = [];
  document.addEventListener("securitypolicyviolation", (event) =>
    violations.push(`${event.violatedDirective} ${event.blockedURI} ${event.sourceFile}:${event.lineNumber}`));
"""
APPEARS = """
  new Promise((resolve) => {
    const find = () => document.querySelector(SELECTOR);
    if (find()) return resolve(true);
    new MutationObserver((_, observer) => { if (find()) { observer.disconnect(); resolve(true); } })
      .observe(document, {childList: true, subtree: true});
  })
"""
FILL = """
  (() => {
    const input = document.querySelector(SELECTOR);
    Object.getOwnPropertyDescriptor(Object.getPrototypeOf(input), "value").set.call(input, TEXT);
    for (const name of ["input", "change"]) input.dispatchEvent(new Event(name, {bubbles: true}));
    input.dispatchEvent(new FocusEvent("focusout", {bubbles: true}));
  })()
"""


class Tab:
    """A tab, and what happened in it: the addresses it asked for, and its warnings and errors."""

    def __init__(self, socket: ClientWebSocketResponse) -> None:
        self._socket = socket
        self._number = 0
        self.requested: list[str] = []
        self.errors: list[str] = []

    async def call(self, method: str, **parameters: Any) -> Any:
        """One command, and its result."""
        self._number += 1
        await self._socket.send_json({"id": self._number, "method": method, "params": parameters})
        while True:
            message = json.loads(await self._socket.receive_str(timeout=60))
            if message.get("id") == self._number:
                assert "error" not in message, message
                return message["result"]
            self._note(message["method"], message["params"])

    async def size(self, width: int, height: int) -> None:
        """Is shown as a window or, below 700 pixels, as a phone does."""
        shown = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 700}
        await self.call("Emulation.setDeviceMetricsOverride", **shown)

    async def open(self, url: str) -> None:
        for domain in ("Page", "Network", "Runtime", "Log"):
            await self.call(f"{domain}.enable")
        await self.call("Page.addScriptToEvaluateOnNewDocument", source=WATCH)
        await self.call("Page.navigate", url=url)

    async def evaluate(self, expression: str) -> Any:
        result = await self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    async def appears(self, selector: str) -> None:
        assert await self.evaluate(APPEARS.replace("SELECTOR", json.dumps(selector)))

    async def click(self, selector: str) -> None:
        await self.appears(selector)
        await self.evaluate(f"document.querySelector({json.dumps(selector)}).click()")

    async def fill(self, selector: str, text: str) -> None:
        await self.appears(selector)
        await self.evaluate(FILL.replace("SELECTOR", json.dumps(selector)).replace("TEXT", json.dumps(text)))

    async def text(self, selector: str) -> str:
        await self.appears(selector)
        return str(await self.evaluate(f"document.querySelector({json.dumps(selector)}).innerText"))

    async def screenshot(self) -> bytes:
        """A PNG."""
        image = await self.call("Page.captureScreenshot", format="png")
        return base64.b64decode(image["data"])

    def _note(self, event: str, parameters: Any) -> None:
        if event == "Network.requestWillBeSent":
            self.requested.append(parameters["request"]["url"])
        elif event == "Runtime.exceptionThrown":
            self.errors.append(str(parameters["exceptionDetails"]))
        elif event == "Runtime.consoleAPICalled" and parameters["type"] in ("warning", "error"):
            self.errors.append(str(parameters["args"]))
        elif event == "Log.entryAdded" and parameters["entry"]["level"] in ("warning", "error"):
            self.errors.append(f"{parameters['entry']['text']} {parameters['entry'].get('url')}")


@asynccontextmanager
async def tab(folder: Path) -> AsyncIterator[Tab]:
    """A tab of a new browser, which ends with the block."""
    assert CHROMIUM is not None
    process = await asyncio.create_subprocess_exec(
        CHROMIUM,
        *OPTIONS,
        f"--user-data-dir={folder}",
        "about:blank",
        stderr=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.DEVNULL,
    )
    try:
        assert process.stderr is not None
        port = None
        async for line in process.stderr:
            if found := re.search(rb"DevTools listening on ws://127\.0\.0\.1:(\d+)/", line):
                port = int(found[1])
                break
        reading = asyncio.create_task(process.stderr.read())  # A full pipe would stop the browser.
        async with ClientSession() as session:
            async with session.get(f"http://127.0.0.1:{port}/json/list") as response:
                [page] = [found for found in await response.json() if found["type"] == "page"]
            async with session.ws_connect(page["webSocketDebuggerUrl"], max_msg_size=0) as socket:
                yield Tab(socket)
    finally:
        process.terminate()
        await process.wait()
        await reading
