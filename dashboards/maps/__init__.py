"""The map as a part of a page: its files, its land, and positions pushed to it in binary frames."""

from dashboards.maps.files import FILES, PREFIX, address

__all__ = ["FILES", "PREFIX", "address"]
