"""qsmxt: Quantitative Susceptibility Mapping as a BIDS-App, and from Python."""

__all__ = ["Reconstruction", "__version__", "reconstruct"]

__version__: str


def __getattr__(name: str) -> object:
    """Look a name up when it is asked for: importing the package imports nothing else."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name != "__version__":
        from importlib import import_module

        module = {"reconstruct": ".tools.reconstruct", "Reconstruction": ".tools.reconstruction"}[name]
        return getattr(import_module(module, __name__), name)
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("qsmxt-app")
    except PackageNotFoundError:  # a source tree that was never installed
        return "0+unknown"
