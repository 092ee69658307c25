"""The labeling page: one reply at a time, by keyboard, served to this machine alone."""

import asyncio
import json
from pathlib import Path
from typing import Any

from aiohttp import web

from deploysim_assets.grading.labels import ANSWERS, read_sheet, write_sheet

PAGE = Path(__file__).parent / "labeling_page.html"


def _item(row: dict[str, str]) -> dict[str, Any]:
    shown: dict[str, Any] = {
        name: row[name] for name in ("behavior", "definition", "rubric", "label")
    }
    return shown | {name: json.loads(row[name] or "null") for name in ("conversation", "reply")}


def application(sheet: Path, labeler: str) -> web.Application:
    """The page over a sheet. Each answer rewrites the sheet, so that nothing is lost."""
    rows = read_sheet(sheet)

    async def page(_: web.Request) -> web.Response:
        policy = (
            "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
            "connect-src 'self'"
        )
        return web.Response(
            text=PAGE.read_text(encoding="utf-8"),
            content_type="text/html",
            headers={"Content-Security-Policy": policy},
        )

    async def items(_: web.Request) -> web.Response:
        return web.json_response([_item(row) for row in rows])

    async def answer(request: web.Request) -> web.Response:
        said = await request.json()
        index, label = said.get("index"), said.get("label")
        if not isinstance(index, int) or not 0 <= index < len(rows) or label not in (*ANSWERS, ""):
            return web.json_response({"error": "index or label"}, status=400)
        rows[index] |= {"label": label, "labeler": labeler if label else ""}
        await asyncio.to_thread(write_sheet, sheet, list(rows))
        return web.json_response({"labeled": sum(bool(row["label"]) for row in rows)})

    app = web.Application(client_max_size=1 << 16)
    app.add_routes([web.get("/", page), web.get("/items", items), web.post("/label", answer)])
    return app


def serve(sheet: Path, labeler: str, port: int) -> None:
    """Serve the page on 127.0.0.1 until interrupted."""
    web.run_app(application(sheet, labeler), host="127.0.0.1", port=port, print=None)
