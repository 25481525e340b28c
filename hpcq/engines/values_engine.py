"""What engines of whole circuits share: they answer requests for values, some also for samples."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpcq.core.errors import HpcqError
from hpcq.cutting.subexperiments.exact_tensors import ExactTensor
from hpcq.engines.protocol import Cost, Engine, Piece, PreparedPiece, Refusal
from hpcq.engines.requests import Request, Samples, Values
from hpcq.engines.sampled_outcomes import SampledOutcomes, generators


class ValuesPiece(PreparedPiece):
    """A circuit that answers requests for values, and for samples if its engine supports them."""

    def execute(self, rows: NDArray[np.float64], request: Request) -> Any:
        """Answer a request for values or samples."""
        if isinstance(request, Samples):
            random = generators(request, len(rows))
            return [self.samples(row, request, rng) for row, rng in zip(rows, random, strict=True)]
        assert rows.shape == (1, 0), "exact pieces have no parameters"
        assert isinstance(request, Values), "the engine refuses all others"
        return np.stack(self.values(request))[np.newaxis]

    @abstractmethod
    def values(self, request: Values) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the values of the request's strings and bounds on their errors."""

    def samples(
        self, row: NDArray[np.float64], request: Samples, rng: np.random.Generator
    ) -> SampledOutcomes:
        """Draw outcomes for one row of parameters."""
        raise NotImplementedError("the engine refuses requests for samples")


class ValuesEngine(Engine):
    """An engine that computes values of circuits without ports, and may draw samples."""

    def supports(self, piece: Piece, request: Request) -> Cost | Refusal:
        """Return the predicted cost of a request, or why it is refused."""
        if not isinstance(piece, ExactTensor) or not isinstance(request, Values | Samples):
            return Refusal(
                "it computes values of exact runs, not "
                f"{type(request).__name__} of {type(piece).__name__}"
            )
        if piece.subcircuit.ports:
            return Refusal(f"the piece has {len(piece.subcircuit.ports)} ports, expected none")
        try:
            if isinstance(request, Samples):
                return self.samples_cost(piece, request)
            return self.cost(piece, request)
        except HpcqError as error:
            return Refusal(str(error))

    @abstractmethod
    def cost(self, piece: ExactTensor, request: Values) -> Cost | Refusal:
        """Return the predicted cost of a request for values, or why it is refused.

        Raises:
            HpcqError: If the request is refused; the message says why.
        """

    def samples_cost(self, piece: ExactTensor, request: Samples) -> Cost | Refusal:
        """Return the predicted cost of a request for samples, or why it is refused.

        Raises:
            HpcqError: If the request is refused; the message says why.
        """
        del piece, request
        return Refusal("it computes values without a state to draw samples from")
