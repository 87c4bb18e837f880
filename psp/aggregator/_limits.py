"""Every limit of an aggregator, each with its reason."""

from __future__ import annotations

from typing import Final

DEADLINE_S: Final = 10.0
"""How long one question may take before a member counts as late. A far archive answers in a tenth
of a second; ten seconds is as long as a person looks at a progress bar without wondering."""

WITHIN_S_MAX: Final = 3_600.0
"""The longest time that a question may be given: who waits longer has left the room."""

WINDOW_BYTES: Final = 4 * 1024 * 1024
"""What of rows in columns may be on its way before it is taken: the product of a gigabit and 30 ms,
rounded up, so that a far archive need not wait for credit."""

WINDOW_LOCAL_BYTES: Final = 1
"""The same where rows are to be handed over on this machine: what is sent meanwhile is sent for
nothing, and what has been sent whole can be taken no more. Where they are not, `land` widens it."""

LINK_S: Final = 15 * 60
"""How long a link lasts that a console makes: what a copy of it is worth to a thief."""

LINK_RENEWED_S: Final = LINK_S // 3
"""When it is made anew: two renewals may fail before anybody notices."""

SIGNED_S: Final = 60
"""How long a signed call may be under way: the longest that an archive accepts."""

LETTERS_AT_ONCE_MAX: Final = 256
"""Signed calls of one tenant that are carried at once; the others wait. As many as connections that
are made at once: a view of a thousand members is four rounds of them."""

LETTERS_BESIDE_MAX: Final = 16
"""Of each tenant while others ask: some milliseconds of work, and enough to hide the way there."""

LETTERS_WAITING_MAX: Final = 10_000
"""Signed calls of one tenant that may wait: one for each member that an aggregator reports on."""

CONNECTING_MAX: Final = 256
"""Members towards which a connection is being made at once. More would cost files (a process often
has 1,024); far fewer would let some members that swallow packets spend the time of the others."""

ATTEMPTS_MAX: Final = 3
"""Times that one member is tried for one question. What fails three times within a second is not
a hiccup."""

RETRY_WAIT_S: Final = 0.1
"""The longest first wait before a retry; it doubles. An archive that is restarting its listener or
shedding a burst is back after about as long."""

RETRY_WAIT_S_MAX: Final = 2.0
"""The longest wait before a retry: a fifth of the deadline, so that a retry is still of use."""

RETRIES_SAVED_MAX: Final = 20.0
"""Retries that a tenant may have saved up. A fleet of one or two members may so retry a question
fully; a thousand members that fail together cause 20 retries and not 2,000."""

RETRIES_PER_QUESTION: Final = 0.1
"""What each first attempt adds to the saved retries: in the long run retries add a tenth to the
load of a member in trouble, as gRPC's and Finagle's budgets do."""

FAILURES_MAX: Final = 3
"""Failed questions in a row after which a member is left alone for a while. One or two happen to a
member that is being restarted."""

PAUSE_S: Final = 2.0
"""How long a member is left alone at first: two connects' worth on a slow line."""

PAUSE_S_MAX: Final = 60.0
"""The longest time between two probes; a member that came back is seen within about a minute."""

LATE_COUNTS_S: Final = 1.0
"""A member that is late under a shorter deadline than this has shown nothing about itself."""

NAMES_SHOWN_MAX: Final = 8
"""Names in a message; more is a list that nobody reads."""

TREE_DEPTH_MAX: Final = 4
"""Aggregators above one another. Four of a thousand members each are more archives than there are
people; what goes deeper is an aggregator that is a member of itself."""

LEAVES_MAX: Final = 10_000
"""Members that one aggregator may report on. Its answer fits one RETURN of 256 KiB, so an honest
one has fewer."""

TREE_DEADLINE_SHARE: Final = 0.8
"""What an aggregator gives the members below it of its own time: the rest is for combining and for
the way back, so that a slow archive costs its own figures and not those of its whole branch."""

QUESTIONS_AT_ONCE_MAX: Final = 4
"""Questions of one tenant that a serving aggregator has out at once. More would not be faster: they
share one connection to each member. Fewer would let one slow member hold up a second person."""

QUESTIONS_WAITING_MAX: Final = 64
"""Questions of one tenant that may wait for their turn. A person has one or two; a program that has
more is told that it is too fast, before it fills the memory that other tenants need too."""

NAME_CHARACTERS_MAX: Final = 256
"""Characters of a member's name that another aggregator reports: four names of 64 each."""

CAUSE_CHARACTERS_MAX: Final = 200
"""Of what went wrong with a member, passed on to another aggregator: two lines of a terminal, which
is what a console shows of it."""

VIEW_BYTES_MAX: Final = 64 * 1024
"""Bytes of a view file: a thousand lines. Whoever names a larger one has taken the wrong file."""

THRESHOLDS_MAX: Final = 64
"""Thresholds of a view; more exceptions than that are a table."""

EXPRESSION_CHARACTERS_MAX: Final = 500
"""Characters of a derived measure: longer ones are clearer in steps."""

EXPRESSION_DEPTH_MAX: Final = 32
"""Derived measures that lead to one another: Python's own stack has room for thirty times that."""

CELLS_FIRST: Final = 510
"""Cells of the first table of a comparison: 14 KB a side, and some 350 differences."""

CELLS_LAST: Final = 8_160
"""Cells of the last one, after four doublings: 228 KB, which one RETURN takes."""

CLOCK_APART_S_MAX: Final = 30.0
"""How far two clocks may be apart: a grant of fifteen minutes, renewed every five, bears that."""

LISTED_MAX: Final = 2_000
"""Differences of a side that are asked for row by row; a person reads the first hundred."""

LISTED_AT_ONCE: Final = 1_000
"""As many as are asked for in one call: what a pairing gives in one, if its grant does."""

LISTING_CALLS_MAX: Final = 32
"""Calls for the rows of one side: the archive reads its whole table for each of them."""

APPEND_BYTES_MAX: Final = 192 * 1024
"""Bytes of a file that a command brings: an archive takes no more in one call."""

WORDS_CHARACTERS_MAX: Final = 400
"""Characters of what an archive says about a command: some lines of a terminal."""

COMMAND_S: Final = 60.0
"""How long a member may take for a command before it counts as late: an audit of a gigabyte of
originals takes some seconds. What is late may be done all the same, and its key tells."""
