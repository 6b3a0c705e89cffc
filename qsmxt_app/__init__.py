"""qsmxt: Quantitative Susceptibility Mapping as a BIDS-App."""

from importlib.metadata import PackageNotFoundError, version

from qsmxt_app.environment import setup_process

setup_process()

try:
    __version__ = version("qsmxt-app")
except PackageNotFoundError:  # a source tree that was never installed
    __version__ = "0+unknown"

__all__ = ["__version__"]
