"""`psp demo`: a real estate of many archives on one machine, from files to a view."""

from ._data import FLIGHTS as FLIGHTS
from ._data import HOUSES as HOUSES
from ._data import Source as Source
from ._data import split as split
from ._holding import Holding as Holding
from ._holding import run_holding as run_holding
from ._holding_view import HoldingView as HoldingView
from ._programme import ESTATE as ESTATE
from ._programme import SCALE as SCALE
from ._programme import Programme as Programme
from ._run import Reporter as Reporter
from ._run import Result as Result
from ._run import run_demo as run_demo
from ._sources import run_sources as run_sources
from ._sources import sources_page as sources_page
