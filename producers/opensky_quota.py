"""OpenSky's credits: what a poll costs, and when the next one is due so that a day neither runs dry nor leaves any.

Rules: https://openskynetwork.github.io/opensky-api/rest.html, "API Credits". They don't say when in the day the quota
is whole again; docs/decisions/0026-opensky-credits.md says what is assumed and how the truth is learnt.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from headwater.errors import SettingsError

DAY_S = 86_400.0
ANONYMOUS_CREDITS, ACCOUNT_CREDITS = 400, 4_000
ANONYMOUS_RESOLUTION_S, ACCOUNT_RESOLUTION_S = 10.0, 5.0
"""The time step of what OpenSky answers: asking sooner brings the same again."""
WORLD_COST = 4
COSTS = ((25.0, 1), (100.0, 2), (400.0, 3))
"""Square degrees up to which a call costs so many credits; larger ones cost as much as the world."""

RENEWAL_MARGIN_S = 2.0
"""Their clock isn't ours."""
ASK_AGAIN_S = 900.0
"""With no credits left and nothing known of the renewal: a refusal tells when it is."""


class Box(NamedTuple):
    """An area that doesn't cross the date line, in degrees."""

    south: float
    west: float
    north: float
    east: float


def parts(text: str) -> tuple[Box | None, ...]:
    """The areas to ask for, one a call, of the setting "south,west,north,east"; None is the world.

    A box across the date line, whose west is greater than its east, is two. Raises SettingsError.
    """
    if not text.strip():
        return (None,)
    try:
        south, west, north, east = map(float, text.split(","))
    except ValueError:
        raise SettingsError(f'[opensky] box: expected "south,west,north,east" in degrees, not {text!r}') from None
    if not (-90 <= south < north <= 90 and -180 <= west <= 180 and -180 <= east <= 180 and west != east):
        raise SettingsError(
            f"[opensky] box: expected south below north, within 90 degrees, and west and east within 180, not {text!r}"
        )
    if west < east:
        return (Box(south, west, north, east),)
    halves = (Box(south, west, north, 180.0), Box(south, -180.0, north, east))
    return tuple(box for box in halves if box.west < box.east)


def cost_of(area: Box | None) -> int:
    """Credits of a call."""
    if area is None:
        return WORLD_COST
    degrees = (area.north - area.south) * (area.east - area.west)
    return next((cost for limit, cost in COSTS if degrees <= limit), WORLD_COST)


@dataclass
class Quota:
    """What is known of a day's credits. Times are seconds since 1970.

    `left` is None until OpenSky has answered. `is_known` says that `renewed_at` is more than a day after whatever
    moment the first answer came at.
    """

    size: int
    poll_cost: int
    resolution_s: float
    left: int | None = None
    renewed_at: float = 0.0
    is_known: bool = False

    def charged(self, now: float, cost: int, remaining: int | None) -> None:
        """Take note of a call's answer; `remaining` is what it says is left, None where it doesn't say."""
        is_due = self.left is None or now >= self.renewed_at
        if remaining is None:
            remaining = max(0, (self.size if self.left is None or is_due else self.left) - cost)
        has_grown = self.left is not None and remaining > self.left
        if is_due or has_grown:
            self.renewed_at = now + DAY_S
            self.is_known = has_grown or remaining >= self.size - cost
        self.left = remaining

    def refused(self, now: float, retry_after_s: float | None) -> None:
        """Take note of a refusal; it may say when credits come again."""
        if retry_after_s is not None:
            self.left, self.renewed_at, self.is_known = 0, now + retry_after_s, True

    def wait_s(self, now: float) -> float:
        """How long from `now` until the next poll is due: what is left of the day in equal parts.

        After the last poll that credits allow, the next one is due when they are renewed.
        """
        if self.left is None:
            return self.resolution_s
        polls = self.left // self.poll_cost
        left_s = self.renewed_at + RENEWAL_MARGIN_S - now
        if polls == 0 and not self.is_known:
            left_s = min(left_s, ASK_AGAIN_S)
        return max(self.resolution_s, left_s / (polls + 1))
