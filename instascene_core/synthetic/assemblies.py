"""Things of several parts and materials for training: tools, vessels, bottles, appliances, toys, free forms.

Every maker takes a numpy Generator and returns a `Solid` with pieces; no two are alike in proportions, parts
or paints.  `ASSEMBLIES` is the registry.  `unseen_assemblies` holds those that training must not use.
"""

from collections.abc import Callable

import numpy as np

from instascene_core.synthetic.assembled_goods import (
    appliance,
    device,
    figure,
    lamp,
    lidded_box,
    taped_carton,
    vehicle,
)
from instascene_core.synthetic.assembled_tools import clamp, driver, knife, pistol_tool, shears, striker
from instascene_core.synthetic.assembled_vessels import (
    dispenser,
    handled_vessel,
    jug,
    labelled_bottle,
    rimmed,
    tube_with_cap,
)
from instascene_core.synthetic.assembly import whole
from instascene_core.synthetic.composite import composite
from instascene_core.synthetic.solids import Solid

ASSEMBLIES: dict[str, Callable[[np.random.Generator], Solid]] = {
    make.__name__: whole(make)
    for make in (
        pistol_tool, driver, striker, knife, handled_vessel, jug, dispenser, labelled_bottle, appliance,
        device, vehicle, figure, lamp, lidded_box, taped_carton, tube_with_cap, rimmed, clamp,
        shears, composite,
    )
}  # fmt: skip
