"""A function of tensors on a GPU as a CUDA graph: one launch in place of one for each of its kernels."""

from collections.abc import Callable

import torch

WARM_UPS = 3  # calls before recording, in which libraries set themselves up


class RecordedFunction:
    """`function` as it computes for tensors of these sizes.

    It may not look at values, nor move any from the CPU.  The next call writes where this one's results lie.
    """

    def __init__(
        self, function: Callable[..., tuple[torch.Tensor, ...]], tensors: list[torch.Tensor]
    ) -> None:
        self._function = function  # what it refers to must live as long as the graph
        self._inputs = [tensor.detach().clone() for tensor in tensors]
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(WARM_UPS):
                function(*self._inputs)
        torch.cuda.current_stream().wait_stream(side)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._outputs = function(*self._inputs)

    def __call__(self, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        for mine, tensor in zip(self._inputs, tensors, strict=True):
            mine.copy_(tensor)
        self._graph.replay()
        return self._outputs
