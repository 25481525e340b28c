"""Other ways to the energies and gradients of parametrised circuits, for program.py.

Each is made once for an ansatz, and then called with rows of parameters; what can be prepared
before the parameters are known is not part of a call.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from program_circuits import Ansatz
from program_targets import GRADIENT, GRADIENTS, ROWS, VALUE, VALUES
from qiskit import QuantumCircuit
from qiskit.circuit import CircuitInstruction, ParameterExpression
from qiskit_aer import AerSimulator
from qiskit_aer.primitives import EstimatorV2

import hpcq
from hpcq.circuits.slots import Slots, bind_slots
from hpcq.engines.registry import DEFAULT_ENGINE, EngineSpec, open_engine
from hpcq.engines.requests import OperatorTensors
from hpcq.kinds.parameters.evaluator import ProgramSetup

if TYPE_CHECKING:
    from hpcq.planning.exact_plan import ExactPlan

Floats = NDArray[np.float64]
Answer = tuple[Floats, Floats | None]
"""Energies, shape (rows,), and gradients, shape (rows, parameters), where a method gives them."""

Energies = Callable[[Floats], Floats]
Call = Callable[[Floats], Answer]

_UNCUT = {"mps": "matrix_product_state", "statevector": "statevector"}
_STATEVECTOR_QUBITS = 20
"""Maximum width of circuits that Aer simulates uncut as statevectors."""

_LIGHTNING_QUBITS = 20
"""Maximum width for lightning.qubit: at 24 qubits, a gradient takes minutes."""

_SHIFTED = ("rx", "ry", "rz", "rxx", "ryy", "rzz")
"""Gates whose expectation values have one frequency, 1, in their angle: two shifts by pi/2 give
the derivative."""

_ONE_THREAD = {"max_parallel_threads": 1, "max_parallel_experiments": 1}


@dataclass(frozen=True)
class Method:
    """One way to the energies or gradients of an ansatz.

    Attributes:
        label: Name for the table.
        rows: Rows of parameters that each call gets.
        call: Computes them.
        differentiates: Whether it computes gradients.
    """

    label: str
    rows: int
    call: Call
    differentiates: bool = False

    def parameters(self, ansatz: Ansatz, count: int, turn: int) -> Floats:
        """Return the rows of a turn, for an ansatz with so many parameters.

        Those of energies and of gradients differ: a program keeps what it has computed at the rows
        of its last call, so a gradient at the row of an energy would be quicker than in a loop.
        """
        return ansatz.rows(self.rows, count, 2 * turn + self.differentiates)


def methods_of(ansatz: Ansatz) -> tuple[dict[str, Method], dict[str, str]]:
    """Return all methods, hpcq's programs first, and why others are missing."""
    plan = hpcq.plan(ansatz.build(), ansatz.energy(), cut_labels=ansatz.cut_labels, threads=1)
    program = plan.compile()

    def gradients(rows: Floats) -> Answer:
        values, derivatives = program.values_and_gradients(rows)
        return values[:, 0], derivatives[:, 0]

    def values(rows: Floats) -> Answer:
        return program.values(rows)[:, 0], None

    methods = {
        VALUE: Method("energy", 1, values),
        VALUES: Method(f"energy, each of {ROWS} rows", ROWS, values),
        GRADIENT: Method("energy and gradient", 1, gradients, True),
        GRADIENTS: Method(f"energy and gradient, each of {ROWS} rows", ROWS, gradients, True),
        "anew": Method("hpcq, planned and run anew", 1, _energies(planned_anew(ansatz))),
    }
    for name, method in _UNCUT.items():
        if name == "mps" or ansatz.num_qubits <= _STATEVECTOR_QUBITS:
            call = _energies(aer_energies(ansatz, method))
            label = f"Aer {method.replace('_', ' ')}, uncut"
            methods[name] = Method(label, 1, call)
            methods[f"{name}-rows"] = Method(f"{label}, each of {ROWS} rows", ROWS, call)
    methods["pieces"] = Method("Aer, tensors of the same pieces", 1, aer_tensors(plan))
    label = "Aer, states of the same pieces alone"
    methods["simulations"] = Method(label, 1, aer_simulations(plan))
    if ansatz.num_qubits > _LIGHTNING_QUBITS:
        return methods, {}
    try:
        adjoint = lightning_gradient(ansatz)
    except ImportError:
        return methods, {"lightning": "not installed"}
    methods["lightning"] = Method("lightning.qubit, adjoint", 1, adjoint, True)
    return methods, {}


def _energies(energies: Energies) -> Call:
    return lambda rows: (energies(rows), None)


def aer_energies(ansatz: Ansatz, method: str) -> Energies:
    """Return Aer's EstimatorV2, all rows in one PUB, one thread, defaults otherwise."""
    estimator = _estimator(method)
    circuit, energy = ansatz.build(), ansatz.energy()

    def energies(rows: Floats) -> Floats:
        (result,) = estimator.run([(circuit, energy, rows)]).result()
        return np.asarray(result.data.evs)

    return energies


def _estimator(method: str) -> EstimatorV2:
    return EstimatorV2(options={"backend_options": {"method": method, **_ONE_THREAD}})


def planned_anew(ansatz: Ansatz) -> Energies:
    """Return hpcq without programs: bound circuits, each planned and run as if it were the first.

    That is how hpcq worked before there were programs.
    """
    circuit, energy = ansatz.build(), ansatz.energy()

    def energies(rows: Floats) -> Floats:
        bound = (circuit.assign_parameters(row) for row in rows)
        return np.array([run_anew(each, energy, ansatz.cut_labels) for each in bound])

    return energies


def run_anew(circuit: QuantumCircuit, energy: Any, cut_labels: str) -> float:
    """Plan and run a circuit without free parameters."""
    plan = hpcq.plan(circuit, energy, cut_labels=cut_labels, threads=1)
    return float(hpcq.run(plan, device="cpu").expectation_values[0])


def aer_tensors(plan: ExactPlan) -> Call:
    """Return the tensors of a plan's subcircuits by hpcq's engine of Aer, without the energy."""
    setup = ProgramSetup.of(plan)
    engine = open_engine(EngineSpec(DEFAULT_ENGINE), plan.limits, "cpu")
    pieces = [engine.prepared(tensor) for tensor in setup.tensors]

    def tensors(rows: Floats) -> Answer:
        angles = _slots(plan).angles(rows)
        for piece, tensor, operators in zip(pieces, setup.tensors, setup.operators, strict=True):
            piece.execute(angles[:, tensor.slots], OperatorTensors(operators))
        return np.empty(0), None

    return tensors


def aer_simulations(plan: ExactPlan) -> Call:
    """Return Aer's simulations of a plan's subcircuits, ancillas included, and no more."""
    simulator = AerSimulator(method="statevector", **_ONE_THREAD)
    pieces = [
        (tensor.slots, tensor.circuit(branch))
        for tensor in plan.tensors
        for branch in range(tensor.num_branches)
    ]

    def simulate(rows: Floats) -> Answer:
        angles = _slots(plan).angles(rows)
        for numbers, circuit in pieces:
            bound = [bind_slots(circuit, numbers, each[list(numbers)]) for each in angles]
            for each in bound:
                each.save_statevector()
            result = simulator.run(bound).result()
            for number in range(len(bound)):
                _ = result.data(number)["statevector"]
        return np.empty(0), None

    return simulate


def _slots(plan: ExactPlan) -> Slots:
    assert plan.slots is not None
    return plan.slots


def shifts_of(
    circuit: QuantumCircuit, row: Floats, parameter: int
) -> Iterator[tuple[float, QuantumCircuit]]:
    """Yield bound circuits and factors: the factors times their energies add up to a derivative.

    Every gate that depends on the parameter is shifted by pi/2 in both directions, and no other
    gate with it, so that a parameter may be that of several gates (arXiv:1811.11184, equation 9).
    """
    variable = circuit.parameters[parameter]
    for place, instruction in enumerate(circuit.data):
        if not any(
            isinstance(value, ParameterExpression) and variable in value.parameters
            for value in instruction.params
        ):
            continue
        if instruction.name not in _SHIFTED:
            raise ValueError(f"{instruction.name}: expected one of {', '.join(_SHIFTED)}")
        (angle,) = instruction.params
        factor = float(complex(angle.gradient(variable)).real) / 2
        for sign in (1, -1):
            shifted = circuit.copy()
            shifted.data[place] = instruction.replace(params=[angle + sign * np.pi / 2])
            yield sign * factor, shifted.assign_parameters(row)


def shifted_derivative(ansatz: Ansatz, row: Floats, parameter: int, way: str) -> float:
    """Return a derivative by shifts; the way is one of Aer's, uncut, or ``anew``."""
    circuit, energy = ansatz.build(), ansatz.energy()
    shifted = shifts_of(circuit, row, parameter)
    if way == "anew":
        return sum(c * run_anew(each, energy, ansatz.cut_labels) for c, each in shifted)
    estimator = _estimator(_UNCUT[way])
    factors, circuits = zip(*shifted, strict=True)
    results = estimator.run([(each, energy) for each in circuits]).result()
    return float(sum(c * result.data.evs for c, result in zip(factors, results, strict=True)))


def num_shifts(circuit: QuantumCircuit) -> int:
    """Return the number of energies that parameter shifts take for a whole gradient."""
    free = [i for i in circuit.data if any(isinstance(v, ParameterExpression) for v in i.params)]
    return 2 * len(free)


def lightning_gradient(ansatz: Ansatz) -> Call:
    """Return adjoint differentiation of the uncut circuit by lightning.qubit.

    Raises:
        ImportError: If pennylane-lightning is not installed.
    """
    import pennylane
    import pennylane_lightning  # noqa: F401 (the device is found by its name)
    from pennylane import numpy as differentiable

    circuit = ansatz.build()
    gates = [_lightning_gate(circuit, instruction) for instruction in circuit.data]
    paulis = {"X": pennylane.PauliX, "Y": pennylane.PauliY, "Z": pennylane.PauliZ}
    terms = ansatz.terms()
    strings = [
        pennylane.prod(*(paulis[p](q) for p, q in zip(letters, qubits, strict=True)))
        for letters, qubits, _ in terms
    ]
    energy = pennylane.Hamiltonian([coefficient for *_, coefficient in terms], strings)
    device = pennylane.device("lightning.qubit", wires=circuit.num_qubits)

    @pennylane.qnode(device, diff_method="adjoint")
    def node(parameters: Any) -> Any:
        for apply, angle, factors in gates:
            apply(angle + sum(factor * parameters[column] for column, factor in factors))
        return pennylane.expval(energy)

    gradient = pennylane.grad(node)

    def energy_and_gradient(rows: Floats) -> Answer:
        (row,) = rows
        derivatives = gradient(differentiable.array(row, requires_grad=True))
        return np.array([gradient.forward]), np.asarray(derivatives)[np.newaxis]

    return energy_and_gradient


def _lightning_gate(
    circuit: QuantumCircuit, instruction: CircuitInstruction
) -> tuple[Callable[[Any], Any], float, list[tuple[int, float]]]:
    """Return a gate of PennyLane as a function of its angle, and the angle.

    The angle is the number plus the sum of factors times parameters.
    """
    import pennylane as qml

    wires = [circuit.find_bit(qubit).index for qubit in instruction.qubits]
    name = instruction.name
    if name == "unitary":
        matrix = instruction.params[0]
        return lambda _: qml.QubitUnitary(matrix, wires[::-1]), 0.0, []
    fixed = {
        **{"x": qml.PauliX, "h": qml.Hadamard, "sx": qml.SX, "cx": qml.CNOT, "cz": qml.CZ},
        "sxdg": lambda wires: qml.adjoint(qml.SX(wires)),
    }
    if name in fixed:
        return lambda _: fixed[name](wires=wires), 0.0, []
    rotations = {
        **{"rx": qml.RX, "ry": qml.RY, "rz": qml.RZ},
        **{"rxx": qml.IsingXX, "ryy": qml.IsingYY, "rzz": qml.IsingZZ},
    }
    (angle,) = instruction.params
    factors = []
    if isinstance(angle, ParameterExpression):
        columns = {parameter: column for column, parameter in enumerate(circuit.parameters)}
        factors = [(columns[p], float(complex(angle.gradient(p)).real)) for p in angle.parameters]
        angle = angle.bind(dict.fromkeys(angle.parameters, 0.0)).numeric()
    return lambda value: rotations[name](value, wires=wires), float(angle), factors
