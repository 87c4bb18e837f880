"""Pictures and the table of docs/performance.md, made from the JSON that the benchmarks print."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeAlias

import vl_convert

from benchmarks._report import Bar

ROOT: Final = Path(__file__).parent.parent
RESULTS: Final = ROOT / "benchmarks" / "results"
PAGE: Final = ROOT / "docs" / "performance.md"
FLEET_PAGE: Final = ROOT / "docs" / "fleet.md"
BEGIN, END = (
    "<!-- results: written by `python -m benchmarks plot` -->\n",
    "<!-- end of results -->\n",
)
BUSY_LOAD: Final = 1.0
"""A load average from which a measurement is told to be none."""

Result: TypeAlias = Mapping[str, Any]
WITH_BARS: Final = ("rpc", "wan", "bulk", "local")
"""The benchmarks whose ratios the page shows; those of a fleet stand in their own."""

Row: TypeAlias = Mapping[str, object]
Drawing: TypeAlias = dict[str, object]


def run() -> list[Path]:
    """Write every picture and the table; give the files that were written."""
    results = {name: read(name) for name in (*WITH_BARS, "profile")}
    written = []
    for name, (source, draw) in PICTURES.items():
        path = PAGE.with_name(f"performance-{name}.svg")
        svg = vl_convert.vegalite_to_svg({**_LOOK, **draw(results[source])})
        path.write_text(svg + "\n", "utf-8")
        written.append(path)
    PAGE.write_text(with_tables(PAGE.read_text("utf-8"), results), "utf-8")
    return [*written, PAGE, *run_fleet()]


def run_fleet() -> list[Path]:
    """Write the picture and the table of docs/fleet.md."""
    result = read("fleet")
    picture = FLEET_PAGE.with_name("fleet-scale.svg")
    picture.write_text(vl_convert.vegalite_to_svg({**_LOOK, **draw_fleet(result)}) + "\n", "utf-8")
    before, rest = FLEET_PAGE.read_text("utf-8").split(BEGIN)
    table = "\n".join(_fleet_table(result))
    FLEET_PAGE.write_text(f"{before}{BEGIN}{table}\n{END}{rest.split(END)[1]}", "utf-8")
    return [picture, FLEET_PAGE]


def read(name: str) -> Result:
    """Read one result.

    Raises:
        SystemExit: It is not there; names the command that makes it.
    """
    path = RESULTS / f"{name}.json"
    try:
        found: Result = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise SystemExit(
            f"there is no {path} to plot. Run `python -m benchmarks {name} --json > {path}`."
        ) from None
    return found


# Tables.


def with_tables(page: str, results: Mapping[str, Result]) -> str:
    """Give the page with the results between its two marks."""
    before, rest = page.split(BEGIN)
    _, after = rest.split(END)
    tables = "\n".join(_tables(results))
    return f"{before}{BEGIN}{tables}\n{END}{after}"


def _tables(results: Mapping[str, Result]) -> Iterator[str]:
    yield from ("", "| ratio | median | lowest and highest sample | bar |", "|---|---|---|---|")
    for name in WITH_BARS:
        ratios, spread = results[name]["ratios"], results[name]["figures"]["spread"]
        bars = results[name]["limits"]["bars"]
        for key, ratio in ratios.items():
            least, most = spread[key]
            bar = Bar(**bars[key])
            held = "" if bar.is_held(ratio) else ", not held"
            yield f"| `{key}` | {ratio:g} | {least:g} .. {most:g} | {bar}{held} |"
    yield from ("", "Beside them, without a bar:", "")
    yield from ("| ratio | median | lowest and highest sample |", "|---|---|---|")
    for name in WITH_BARS:
        beside = results[name]["figures"].get("ratios_beside", {})
        for key, (middle, least, most) in beside.items():
            yield f"| `{key}` | {middle:g} | {least:g} .. {most:g} |"
    figures = results["rpc"]["figures"]
    yield from ("", "In absolute numbers:", "")
    yield from (
        "| who does what | median | spread | CPU, both processes |",
        "|---|---|---|---|",
    )
    for title, part in figures.items():
        if " of " in title:
            yield _absolute(title, part)
    yield from ("", "Memory of one more, proportional set size:", "")
    yield from ("| what | controller | subject |", "|---|---|---|")
    for what, ends in figures["memory_bytes"].items():
        controller, subject = (f"{ends[end]:,} bytes" for end in ("controller", "subject"))
        yield f"| {what.replace('_', ' ')} | {controller} | {subject} |"
    yield from ("", "What a small call waits for while a stream fills the connection:", "")
    yield from ("| | median | 99th percentile |", "|---|---|---|")
    for title in ("small calls alone", "small calls under bulk"):
        part = figures[title]
        yield f"| {title} | {part['median_us'][0]:g} µs | {part['p99_us'][0]:g} µs |"
    yield from ("", "The layers of a null call:", "")
    yield from ("| layer | µs | spread | what |", "|---|---|---|---|")
    profile = results["profile"]["figures"]
    for layer, (middle, least, most) in profile["us_per_call"].items():
        words = profile["layers"][layer]
        yield f"| {layer} | {middle:g} | {least:g} .. {most:g} | {words} |"
    yield from ("", _machine(results["rpc"]["limits"]), "")


def _fleet_table(result: Result) -> Iterator[str]:
    yield from ("", "![time and memory of a view, by members](fleet-scale.svg)")
    yield from ("", "| ratio | median | lowest and highest sample | bar |", "|---|---|---|---|")
    figures, bars = result["figures"], result["limits"]["bars"]
    for key, ratio in result["ratios"].items():
        least, most = figures["spread"][key]
        bar = Bar(**bars[key])
        held = "" if bar.is_held(ratio) else ", not held"
        yield f"| `{key}` | {ratio:g} | {least:g} .. {most:g} | {bar}{held} |"
    yield from ("", "| simulated members | first view | next view | memory, both sides |")
    yield "|---|---|---|---|"
    for size in figures["simulated_view_ms"]:
        first, view, memory = (
            figures[key][size][0]
            for key in ("simulated_first_view_ms", "simulated_view_ms", "simulated_memory_mib")
        )
        yield f"| {int(size):,} | {first:,.0f} ms | {view:,.0f} ms | {memory:,.0f} MiB |"
    if (compared := figures.get("reconciliation")) is not None:
        rows, size, took_s = (
            compared[key][0] for key in ("rows_a_side", "bytes_that_left_a_side", "seconds")
        )
        yield ""
        yield (
            f"Two archives of {rows:,.0f} rows with {compared['changes_found'][0]:g} changes:"
            f" {took_s:.0f} s, and {size:,.0f} bytes left each."
        )
    if (load := result["limits"].get("load_before", 0)) >= BUSY_LOAD:
        yield ""
        yield f"The machine had other work meanwhile, a load of {load:g}: read none of it as a bar."
    yield from ("", _machine(result["limits"]), "")


def _machine(limits: Mapping[str, Any]) -> str:
    machine, packages = limits["machine"], limits["packages"]
    versions = ", ".join(f"{name} {version}" for name, version in packages.items())
    return (
        f"Measured on {machine['cores']} cores, Linux {machine['kernel'].partition('-')[0]},"
        f" Python {machine['python']}, {machine['openssl']}; {versions}."
    )


def _absolute(title: str, part: Mapping[str, Sequence[float]]) -> str:
    figure = next(key for key in part if key != "cpu_us")
    unit = {"median_us": " µs", "calls_per_s": "/s"}[figure]
    middle, least, most = (_number(value) for value in part[figure])
    return f"| {title} | {middle}{unit} | {least} .. {most} | {part['cpu_us'][0]:g} µs |"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:g}"


# Pictures, as Vega-Lite describes them.

_LOOK: Final[Drawing] = {
    "$schema": "https://vega.github.io/schema/vega-lite/v5.json",
    "width": 480,
    "background": "white",
}


def draw_null(result: Result) -> Drawing:
    """Draw the null call of every contestant."""
    return _bars(_rows(result, "null", "median_us"), "median of a null call, µs")


def draw_rates(result: Result) -> Drawing:
    """Draw the calls per second of a hundred tasks."""
    rows = _rows(result, "concurrent", "calls_per_s")
    return _bars(rows, "calls per second of 100 tasks")


def draw_outstanding(result: Result) -> Drawing:
    """Draw the time per call as more calls leave together."""
    found = result["figures"]["outstanding_us_per_call"]
    rows = [{"outstanding": int(key), "value": value[0]} for key, value in found.items()]
    return {
        "data": {"values": rows},
        "mark": {"type": "line", "point": True},
        "encoding": {
            "x": _axis("outstanding", "calls outstanding", scale={"type": "log"}),
            "y": _axis("value", "µs per call", scale={"type": "log"}),
        },
    }


def draw_fleet(result: Result) -> Drawing:
    """Draw the time of a view, and the memory it holds, as members become more."""

    def part(key: str, title: str, name: str) -> Drawing:
        rows = [
            {"members": int(at), name: value[0]} for at, value in result["figures"][key].items()
        ]
        return {
            "data": {"values": rows},
            "mark": {"type": "line", "point": True},
            "encoding": {
                "x": _axis("members", "simulated members", scale={"type": "log"}),
                "y": _axis(name, title, scale={"type": "log"}),
            },
        }

    return {
        "hconcat": [
            part("simulated_view_ms", "ms for a view", "time"),
            part("simulated_memory_mib", "MiB held, both sides", "memory"),
        ]
    }


def draw_profile(result: Result) -> Drawing:
    """Draw the layers of a null call."""
    found = result["figures"]["us_per_call"]
    return _bars([_row(layer, value) for layer, value in found.items()], "µs per call")


def _rows(result: Result, do: str, figure: str) -> list[Row]:
    """Give everybody who did this, and ours with `async def` handlers; the smallest first."""
    figures = result["figures"]
    found = {
        _who(title): part[figure]
        for title, part in figures.items()
        if title.startswith((f"{do} of ", f"{do}_async of "))
    }
    return [_row(name, found[name]) for name in sorted(found, key=lambda name: found[name][0])]


def _who(title: str) -> str:
    did, _, who = title.partition(" of ")
    return f"{who}, async def" if did.endswith("_async") else who


def _row(name: str, spread: Sequence[float]) -> Row:
    return dict(zip(("name", "value", "least", "most"), (name, *spread), strict=True))


def _bars(rows: Sequence[Row], title: str) -> Drawing:
    """Draw a bar for each median, with its spread as a line."""
    name = {"field": "name", "type": "nominal", "title": None, "sort": None}
    value = _axis("value", title)
    spread = {"x": _axis("least", title), "x2": {"field": "most"}}
    return {
        "data": {"values": list(rows)},
        "encoding": {"y": name},
        "layer": [
            {"mark": {"type": "bar", "color": "#4c78a8"}, "encoding": {"x": value}},
            {"mark": {"type": "rule", "color": "#222222"}, "encoding": spread},
        ],
    }


def _axis(field: str, title: str, **more: object) -> Drawing:
    return {"field": field, "type": "quantitative", "title": title, **more}


PICTURES: Final[Mapping[str, tuple[str, Callable[[Result], Drawing]]]] = {
    "null": ("rpc", draw_null),
    "rates": ("rpc", draw_rates),
    "outstanding": ("rpc", draw_outstanding),
    "profile": ("profile", draw_profile),
}
