from qsmxt_app.tools.reconstruct import reconstruct as reconstruct
from qsmxt_app.tools.reconstruction import Reconstruction as Reconstruction

__all__ = ["Reconstruction", "__version__", "reconstruct"]
__version__: str
