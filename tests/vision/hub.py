"""What `datasets.load_dataset` returns, as far as it is used to read images."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest


class StubImage:
    """The feature of a column of images; without `decode`, their values are the bytes of their files."""

    def __init__(self, decode: bool = True) -> None:
        self.decode = decode


StubImage.__name__ = "Image"


class StubData:
    """A streamed data set."""

    def __init__(self, records: list[dict[str, Any]], features: dict[str, Any]) -> None:
        self.records, self.features = records, features

    def cast_column(self, column: str, feature: Any) -> StubData:
        assert not feature.decode
        undecoded = [{**record, column: {"bytes": record[column], "path": None}} for record in self.records]
        return StubData(undecoded, {**self.features, column: feature})

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(self.records)


def stub_datasets(
    monkeypatch: pytest.MonkeyPatch, records: list[dict[str, Any]], features: dict[str, Any]
) -> None:
    """Let the package `datasets` load these records."""
    stub = SimpleNamespace(load_dataset=lambda *args, **options: StubData(records, features))
    monkeypatch.setitem(sys.modules, "datasets", stub)
