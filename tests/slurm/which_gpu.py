"""Says which card this rank takes, as a run on GPUs does, and computes nothing."""

import os
import socket
import sys

from hpcq.parallel.world import open_farm
from hpcq.runs.collective import _card_place

farm = open_farm()
_card_place(farm, "gpu")
shown = os.environ.get("CUDA_VISIBLE_DEVICES") or "-"
sys.stdout.write(f"card {farm.rank} {socket.gethostname()} {shown}\n")
