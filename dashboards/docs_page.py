"""OpenAPI at /docs without a CDN: Swagger UI from the installed package, and a page that the CSP allows."""

from __future__ import annotations

from importlib.resources import files

from fastapi import FastAPI
from fastapi.responses import HTMLResponse, Response

PACKAGE = "fastapi_offline"
CACHED = {"Cache-Control": "public, max-age=86400"}
ASSETS = {"swagger-ui-bundle.js": "text/javascript", "swagger-ui.css": "text/css", "favicon.png": "image/png"}

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Headwater API</title>
<link rel="icon" href="/docs/favicon.png">
<link rel="stylesheet" href="/docs/swagger-ui.css">
</head>
<body>
<div id="swagger-ui"></div>
<script src="/docs/swagger-ui-bundle.js"></script>
<script src="/docs/start.js"></script>
</body>
</html>
"""
START = """SwaggerUIBundle({url: "/openapi.json", dom_id: "#swagger-ui", deepLinking: true, validatorUrl: null});"""


def add_docs(server: FastAPI) -> None:
    """The page, its starter (a script of its own, since inline ones are forbidden) and the package's files."""

    @server.get("/docs", include_in_schema=False)
    async def page() -> HTMLResponse:
        return HTMLResponse(PAGE)

    @server.get("/docs/start.js", include_in_schema=False)
    async def start() -> Response:
        return Response(START, media_type="text/javascript")

    for name, media_type in ASSETS.items():
        _add_file(server, name, media_type)


def _add_file(server: FastAPI, name: str, media_type: str) -> None:
    @server.get(f"/docs/{name}", include_in_schema=False)
    def file() -> Response:
        return Response((files(PACKAGE) / "static" / name).read_bytes(), media_type=media_type, headers=CACHED)
