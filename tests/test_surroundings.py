"""What of a person's shell a run of tests sees."""

from dojo.testkit.surroundings import for_tests


def test_what_is_set_for_other_programs_is_left_out() -> None:
    kept = {
        "PATH": "/bin",
        "HOME": "/home/ada",
        "LC_ALL": "C",
        "PYTHONPATH": "/clone",
        "PYTHONDONTWRITEBYTECODE": "1",
        "KATA_ROOTFS": "/tar",
        "HYPOTHESIS_NO_PLUGINS": "1",
    }
    others = {
        "PYTEST_ADDOPTS": "-x",
        "PYTEST_PLUGINS": "mine",
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        "PYTEST_XDIST_WORKER": "gw1",
        "PYTHONOPTIMIZE": "2",
        "PYTHONSTARTUP": "/mine.py",
        "PYTHONWARNINGS": "error",
        "PYTHONINSPECT": "1",
        "TAR_OPTIONS": "--exclude=*",
        "POSIXLY_CORRECT": "1",
    }
    assert for_tests({**kept, **others}) == kept
