from typing import Any

from numpy.typing import ArrayLike

class QhullError(RuntimeError): ...

class ConvexHull:
    area: float
    volume: float
    equations: Any
    points: Any
    neighbors: Any
    simplices: Any
    vertices: Any
    def __init__(self, points: ArrayLike, *args: Any, **kwargs: Any) -> None: ...
