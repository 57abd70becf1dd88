"""The pytest plugin: runs the chapters' tests, each on a test host, against any mydocker."""

from dojo.plugin.fixtures import mydocker, outside, scratch_hosts, storage_driver
from dojo.plugin.hooks import (
    pytest_addoption,
    pytest_collection_modifyitems,
    pytest_configure,
    pytest_generate_tests,
    pytest_report_header,
    pytest_runtest_call,
    pytest_runtest_makereport,
    pytest_runtest_setup,
    pytest_sessionfinish,
)

__all__ = [
    "mydocker",
    "outside",
    "pytest_addoption",
    "pytest_collection_modifyitems",
    "pytest_configure",
    "pytest_generate_tests",
    "pytest_report_header",
    "pytest_runtest_call",
    "pytest_runtest_makereport",
    "pytest_runtest_setup",
    "pytest_sessionfinish",
    "scratch_hosts",
    "storage_driver",
]
