"""What engines of whole circuits share: they answer requests for values, and refuse all others."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpcq.core.errors import HpcqError
from hpcq.cutting.subexperiments.exact_tensors import ExactTensor
from hpcq.engines.protocol import Cost, Engine, Piece, PreparedPiece, Refusal
from hpcq.engines.requests import Request, Values


class ValuesPiece(PreparedPiece):
    """A circuit that answers requests for values."""

    def execute(self, rows: NDArray[np.float64], request: Request) -> Any:
        """Answer a request for values."""
        assert rows.shape == (1, 0), "exact pieces have no parameters"
        assert isinstance(request, Values), "the engine refuses all others"
        return np.stack(self.values(request))[np.newaxis]

    @abstractmethod
    def values(self, request: Values) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the values of the request's strings and bounds on their errors."""


class ValuesEngine(Engine):
    """An engine that computes values of circuits without ports."""

    def supports(self, piece: Piece, request: Request) -> Cost | Refusal:
        """Return the predicted cost of a request, or why it is refused."""
        if not isinstance(piece, ExactTensor) or not isinstance(request, Values):
            return Refusal(
                "it computes values of exact runs, not "
                f"{type(request).__name__} of {type(piece).__name__}"
            )
        if piece.subcircuit.ports:
            return Refusal(f"the piece has {len(piece.subcircuit.ports)} ports, expected none")
        try:
            return self.cost(piece, request)
        except HpcqError as error:
            return Refusal(str(error))

    @abstractmethod
    def cost(self, piece: ExactTensor, request: Values) -> Cost | Refusal:
        """Return the predicted cost of a request for values, or why it is refused.

        Raises:
            HpcqError: If the request is refused; the message says why.
        """
