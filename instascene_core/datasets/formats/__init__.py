"""Folders of other tools and of public data sets, a class a format.

Each class says by `find(path)` whether a folder is of its format, by names of files that only it has.
"""

from instascene_core.datasets.file_reader import FileReader
from instascene_core.datasets.formats.bop import BopReader
from instascene_core.datasets.formats.llff import LlffReader
from instascene_core.datasets.formats.polycam import PolycamReader
from instascene_core.datasets.formats.record3d import Record3dReader
from instascene_core.datasets.formats.replica import ReplicaReader
from instascene_core.datasets.formats.scannet import ScanNetReader
from instascene_core.datasets.formats.scannetpp import ScanNetPlusPlusReader
from instascene_core.datasets.formats.seven_scenes import SevenScenesReader
from instascene_core.datasets.formats.stray import StrayReader
from instascene_core.datasets.formats.tum import TumReader

FORMATS: tuple[type[FileReader] | type[ScanNetPlusPlusReader], ...] = (
    TumReader,
    ScanNetReader,
    ScanNetPlusPlusReader,
    SevenScenesReader,
    ReplicaReader,
    BopReader,
    PolycamReader,
    Record3dReader,
    StrayReader,
    LlffReader,
)
