"""A lab elsewhere: the chapters' tests are chosen on this machine and run in a virtual one.

On this side: `choice` (which lab), `vagrant` (the virtual machine), `connection` (the way to it),
`tree` (which files go over), `remote` (the pytest plugin that has tests run there). On that side:
`landing` (what comes first), `agent` (a run's monitor), `workers` (what runs the tests).
"""
