"""Things of several parts that the built-in segmenter never sees in training, for benchmarks and tests.

Each is a design of its own (a stapler, a teapot), drawn with random proportions and colours, not an instance
of the grammars in `assemblies`.
"""

from collections.abc import Callable

import numpy as np

from instascene_core.synthetic.assembly import whole
from instascene_core.synthetic.solids import Solid
from instascene_core.synthetic.unseen_goods import GOODS
from instascene_core.synthetic.unseen_kitchen import KITCHEN
from instascene_core.synthetic.unseen_toys import TOYS

UNSEEN_ASSEMBLIES: dict[str, Callable[[np.random.Generator], Solid]] = {
    make.__name__: whole(make) for make in (*KITCHEN, *GOODS, *TOYS)
}
HELD_OUT_ASSEMBLIES = tuple(UNSEEN_ASSEMBLIES)  # kinds the training of the segmenter must not use
