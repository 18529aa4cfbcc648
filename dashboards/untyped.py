"""Dash's calls that have no types, in one place."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import dash
from dash import ClientsideFunction, Dash, Input, Output


def register_page(name: str, path: str, title: str, layout: Callable[[], Any]) -> None:
    """A page under a path; its layout is made anew for each visit."""
    dash.register_page(name, path=path, title=title, layout=layout)  # type: ignore[no-untyped-call]


def clientside(
    app: Dash,
    function: str,
    outputs: Sequence[Output],
    inputs: Sequence[Input],
    prevent_initial_call: Any = None,
    namespace: str = "headwater",
) -> None:
    """A callback that runs in the browser: a function of ``assets/headwater.js``, or of another namespace's file."""
    app.clientside_callback(  # type: ignore[no-untyped-call]
        ClientsideFunction(namespace, function), *outputs, *inputs, prevent_initial_call=prevent_initial_call
    )


async def finish_setup(app: Dash) -> None:
    """What Dash puts off until its first request, and then only does for `/`.

    Without it a server whose first visitor asks for another page answers without assets and page router.
    """
    for prepare in app.backend._before_request_funcs:  # type: ignore[attr-defined]
        result = prepare()
        if hasattr(result, "__await__"):
            await result
