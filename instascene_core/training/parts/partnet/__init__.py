"""PartNet (Mo et al. 2019): its files read, and the network trained and scored on its 24 categories.

`python -m instascene_core.training.parts.partnet --help`.  The data are research-only and never part of this
package; what is here is checked on miniatures of the same layout.
"""
