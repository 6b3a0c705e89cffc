"""qsmxt: Quantitative Susceptibility Mapping as a BIDS-App."""

__all__ = ["__version__"]

__version__: str


def __getattr__(name: str) -> str:
    """Look the version up when it is asked for: importing the package imports nothing else."""
    if name != "__version__":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("qsmxt-app")
    except PackageNotFoundError:  # a source tree that was never installed
        return "0+unknown"
