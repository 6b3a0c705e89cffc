"""Declaration of an interchangeable method, and registries that list methods by name."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from qsmxt_app.bibliography import Reference


@dataclass(frozen=True)
class Parameter:
    """A number that a method depends on.

    Examples
    --------
    >>> str(Parameter("max_radius", 12.0, "mm"))
    'max radius 12 mm'
    """

    name: str
    value: float
    unit: str

    def __str__(self) -> str:
        return f"{self.name.replace('_', ' ')} {self.value:g} {self.unit}".rstrip()


@dataclass(frozen=True)
class Method:
    """An inversion, a background removal or a phase unwrapping.

    The last component of its module's name is the name by which it is chosen.

    Attributes
    ----------
    function
        What computes it: takes an image and a mask by position, everything else by keyword.
    phrase
        How the methods text names it, with citations as `[@key]`.
    needs
        Keywords of the function that the scan determines, of those that the registry offers.
    units
        Unit of every other numeric keyword that has a default; empty for a pure number.
    papers
        The publications that `phrase` cites and that `report/references.toml` lacks.
    """

    function: Callable[..., Any]
    phrase: str
    needs: tuple[str, ...]
    units: Mapping[str, str] = dataclasses.field(default_factory=dict)
    papers: tuple[Reference, ...] = ()

    def __call__(self, image: Any, mask: Any, **scan: Any) -> Any:
        """Apply the method with what it needs of the scan, leaving the rest of the scan aside."""
        return self.function(image, mask, **{name: scan[name] for name in self.needs if name in scan})

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """Parameters with the values in force."""
        declared = inspect.signature(self.function).parameters
        return tuple(Parameter(name, declared[name].default, unit) for name, unit in self.units.items())

    def parameters_for_sidecar(self) -> dict[str, dict[str, Any]]:
        """Return the parameters as a BIDS sidecar writes them: a value and its unit under each name."""
        return {
            "".join(word.capitalize() for word in parameter.name.split("_")): {"Value": parameter.value}
            | ({"Units": parameter.unit} if parameter.unit else {})
            for parameter in self.parameters
        }


class Registry(Mapping[str, Method]):
    """Methods by name. A module is imported only when its method is looked up, so that listing is cheap.

    Parameters
    ----------
    *modules
        Full name of each method's module, which holds the `Method` as `METHOD`.
    offers
        Keywords that every method of the registry may need, and what each of them is.
    """

    def __init__(self, *modules: str, offers: Mapping[str, str]) -> None:
        self.modules = {module.rpartition(".")[2]: module for module in modules}
        self.offers = offers

    def __getitem__(self, name: str) -> Method:
        method: Method = importlib.import_module(self.modules[name]).METHOD
        unknown = set(method.needs) - set(self.offers)
        if unknown:
            raise ValueError(f"{self.modules[name]} needs {sorted(unknown)}, of {sorted(self.offers)}")
        return method

    def __iter__(self) -> Iterator[str]:
        return iter(self.modules)

    def __len__(self) -> int:
        return len(self.modules)

    def __contains__(self, name: object) -> bool:
        return name in self.modules
