"""The dojo: what teaches, tests and hands out the chapters of the kata."""
