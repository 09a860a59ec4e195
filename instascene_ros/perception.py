"""perception: scene_node and mask_node in one process, with the parameters, names and topics of each.

Images come into the process once for both; their work shares its threads.
"""

import sys

from instascene_ros import mask_node, scene_node
from instascene_ros.running import run_nodes


class SilentMaskNode(mask_node.MaskNode):
    """Its records go to the log of scene_node, which forwards those of the process: every line once."""

    forwards_log = False


def main(args: list[str] | None = None) -> int:
    makers = {"scene_node": scene_node.SceneNode, "mask_node": SilentMaskNode}
    return run_nodes(makers, scene_node.NUM_THREADS + mask_node.NUM_THREADS, args)


if __name__ == "__main__":
    sys.exit(main())
