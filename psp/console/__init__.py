"""What a person sees: views and answers in a terminal, and as one page that needs nothing else.

The console draws plain dicts. It knows neither the aggregator nor an archive, so whoever can make
the dict (a program, a saved JSON file, another hub) gets the same picture.
"""

from ._board import Board as Board
from ._doors import export as export
from ._doors import render_answer as render_answer
from ._doors import render_page as render_page
from ._doors import render_reconciliation as render_reconciliation
from ._doors import render_report as render_report
from ._doors import render_report_page as render_report_page
from ._doors import render_sections as render_sections
from ._doors import render_sections_page as render_sections_page
from ._doors import render_status as render_status
from ._doors import render_view as render_view
from ._doors import render_why as render_why
from ._doors import shown_figure as shown_figure
from ._doors import watch_board as watch_board
from ._neutral import neutral as neutral
