"""How sharp the chapters' tests are: they are put to the test themselves.

`wrong.py` has the solutions with one mistake each, `mutants.py` makes changes to the reference by
chance, `engines.py` runs the tests against real Docker and podman. `results.py` keeps what came of
it, `report.py` makes the tables and texts that people read.
"""
