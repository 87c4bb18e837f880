"""Makes the cases of psp/conformance/cases: `python -m tests.vectors` writes them anew.

The JSON is the authority, and tests read nothing but it. What stands here only saves typing: it
packs with the MessagePack library alone and imports no encoder or decoder of psp.
"""
