"""The front door: what `import psp` gives, and what it costs."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

import psp

PUBLIC_NAMES_MAX = 45
CORE = {"psp", "trio", "msgpack", "cryptography"}
EXTRAS = ("apsw", "duckdb", "pyarrow", "sqlglot", "cyclopts", "rich", "plotext", "altair")

WITHOUT_EXTRAS = f"""
import json, sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {(*EXTRAS, "vl_convert", "jinja2", "tomli_w", "numpy")!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Blocker())
"""


def run(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_there_are_few_public_names_and_each_is_there() -> None:
    assert len(psp.__all__) <= PUBLIC_NAMES_MAX
    for name in psp.__all__:
        assert getattr(psp, name) is not None


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="Fleeet"):
        psp.Fleeet


def test_import_psp_loads_nothing_but_itself_and_the_standard_library() -> None:
    """Loading names when they are used is why it adds almost nothing to `import trio`."""
    loaded = json.loads(
        run(
            "import sys, json; before = set(sys.modules); import psp;"
            "print(json.dumps(sorted({m.partition('.')[0] for m in set(sys.modules) - before})))"
        )
    )
    assert set(loaded) - set(sys.stdlib_module_names) <= {"psp"}


def test_every_public_name_works_with_the_three_core_packages_alone() -> None:
    run(WITHOUT_EXTRAS + "import psp\nfor name in psp.__all__: getattr(psp, name)")


@pytest.mark.parametrize(
    ("code", "extra"),
    [
        ("from psp.plan import plan_from_sql; plan_from_sql('select count(*) from t')", "fleet"),
        ("import psp.cli; psp.cli._run()", "demo"),
        ("import psp.console, sys; psp.console.render_answer({}, None)", "console"),
    ],
)
def test_a_missing_extra_is_named_with_the_right_distribution(code: str, extra: str) -> None:
    said = run(
        WITHOUT_EXTRAS
        + "from psp.errors import MissingExtra\ntry:\n    "
        + code.replace("; ", "\n    ")
        + "\nexcept MissingExtra as exc:\n    print(exc)"
    )
    assert f"pip install 'psp-protocol[{extra}]'" in said
