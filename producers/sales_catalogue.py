"""What the simulated electronics shop sells, and where."""

from __future__ import annotations

import itertools
from decimal import Decimal
from typing import NamedTuple
from zoneinfo import ZoneInfo


class Product(NamedTuple):
    """A product; `popularity` is its share of the lines sold, relative to the others'."""

    product_id: str
    name: str
    category: str
    price: Decimal
    popularity: float
    most_units: int


class Store(NamedTuple):
    """A store; `size` is its share of the orders at equal hours, relative to the others'."""

    name: str
    country: str
    zone: ZoneInfo
    size: float


def products() -> list[Product]:
    """The range, with prices in EUR. `most_units`: what one line holds at most."""
    numbers = itertools.count(1001)
    return [
        Product(f"E{next(numbers)}", name, category, Decimal(price), popularity, most_units)
        for category, most_units, lines in _RANGE
        for name, price, popularity in lines
    ]


def stores() -> list[Store]:
    """The stores, each with its own clock."""
    return [Store(name, country, ZoneInfo(zone), size) for name, country, zone, size in _STORES]


_STORES = [
    ("Berlin Mitte", "Germany", "Europe/Berlin", 10),
    ("Hamburg Altona", "Germany", "Europe/Berlin", 7),
    ("Munich Sendling", "Germany", "Europe/Berlin", 6),
    ("Paris Bastille", "France", "Europe/Paris", 9),
    ("Lyon Part-Dieu", "France", "Europe/Paris", 5),
    ("Madrid Centro", "Spain", "Europe/Madrid", 6),
    ("Milano Navigli", "Italy", "Europe/Rome", 6),
    ("Amsterdam Zuid", "Netherlands", "Europe/Amsterdam", 5),
    ("Dublin Docklands", "Ireland", "Europe/Dublin", 3),
    ("Lisboa Alfama", "Portugal", "Europe/Lisbon", 3),
    ("Helsinki Kamppi", "Finland", "Europe/Helsinki", 3),
    ("Athina Plaka", "Greece", "Europe/Athens", 3),
    ("Montréal Plateau", "Canada", "America/Toronto", 4),
    ("Singapore Orchard", "Singapore", "Asia/Singapore", 4),
]

_RANGE: list[tuple[str, int, list[tuple[str, str, float]]]] = [
    (
        "Televisions",
        2,
        [
            ('43" LED TV', "349.00", 5),
            ('50" QLED TV', "579.00", 4),
            ('55" OLED TV', "1199.00", 4),
            ('65" OLED TV', "1749.00", 2),
            ('75" Mini-LED TV', "2299.00", 1),
            ("TV wall mount", "39.90", 4),
        ],
    ),
    (
        "Phones",
        2,
        [
            ("Smartphone 128 GB", "449.00", 9),
            ("Smartphone 256 GB", "699.00", 7),
            ("Smartphone Pro 512 GB", "1249.00", 4),
            ("Foldable phone", "1599.00", 1),
            ("Feature phone", "59.90", 2),
            ("Phone case, clear", "14.99", 12),
            ("Screen protector", "9.99", 12),
        ],
    ),
    (
        "Computers",
        2,
        [
            ('Laptop 13"', "999.00", 5),
            ('Laptop 15"', "849.00", 5),
            ('Gaming laptop 16"', "1899.00", 2),
            ("Mini PC", "429.00", 2),
            ('Tablet 11"', "479.00", 6),
            ('Monitor 27" 4K', "329.00", 5),
            ('Monitor 34" curved', "499.00", 2),
        ],
    ),
    (
        "Components",
        4,
        [
            ("SSD 1 TB", "84.90", 8),
            ("SSD 2 TB", "149.90", 5),
            ("Memory 32 GB kit", "94.50", 5),
            ("Graphics card 12 GB", "579.00", 2),
            ("Processor, 8 cores", "319.00", 2),
            ("Power supply 750 W", "99.90", 3),
            ("Case fan 120 mm", "12.49", 5),
        ],
    ),
    (
        "Audio",
        2,
        [
            ("Wireless earbuds", "129.00", 10),
            ("Noise-cancelling headphones", "279.00", 6),
            ("Bluetooth speaker", "79.90", 7),
            ("Soundbar", "249.00", 3),
            ("Record player", "199.00", 1),
            ("USB microphone", "89.00", 2),
        ],
    ),
    (
        "Gaming",
        2,
        [
            ("Game console", "499.00", 4),
            ("Handheld console", "379.00", 3),
            ("Game controller", "64.99", 7),
            ("Video game", "69.99", 9),
            ("Gaming chair", "219.00", 1),
            ("VR headset", "549.00", 1),
        ],
    ),
    (
        "Photo",
        2,
        [
            ("Mirrorless camera", "1099.00", 2),
            ("Zoom lens 24-70 mm", "899.00", 1),
            ("Action camera", "349.00", 3),
            ("Instant camera", "89.90", 3),
            ("Tripod", "59.00", 3),
            ("Memory card 128 GB", "24.90", 8),
        ],
    ),
    (
        "Smart home",
        6,
        [
            ("LED bulb, colour", "17.90", 9),
            ("Smart plug", "19.99", 9),
            ("Smart thermostat", "149.00", 3),
            ("Video doorbell", "129.00", 3),
            ("Robot vacuum", "399.00", 3),
            ("Wi-Fi mesh router", "189.00", 4),
        ],
    ),
    (
        "Accessories",
        8,
        [
            ("USB-C cable 1 m", "9.90", 16),
            ("USB-C charger 65 W", "34.90", 11),
            ("HDMI cable 2 m", "12.90", 9),
            ("Power bank 20 Ah", "39.90", 8),
            ("Wireless mouse", "29.90", 8),
            ("Mechanical keyboard", "109.00", 4),
            ("AA batteries, 8", "7.49", 14),
            ("Laptop sleeve", "24.90", 4),
        ],
    ),
]
