"""`kata site`: lessons, hints, steps, contract and pictures as a static site that needs no network.

The pages are made of the repository's own files, in a directory that is gone afterwards: nothing is
stored twice. `pages.py` says which there are, `difference.py` makes a step readable, `build.py` has
Zensical make a site of them and puts it where it was asked for.
"""
