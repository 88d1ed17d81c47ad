"""A loopback double of a Qdrant server: its REST protocol over the real embedded engine.

Good enough for an unmodified QdrantClient, with faults on demand and a log of every request.
Status codes, words and shapes are those of Qdrant 1.18.3; tests/test_double_is_true.py sends the
same requests to double and server and compares the answers.
"""

from qdrant_double.access import token
from qdrant_double.cluster import Cluster
from qdrant_double.double import Double, State
from qdrant_double.ports import refused_port
from qdrant_double.protocol import Fault, Json, Problem, Request
from qdrant_double.shard import Shard

__all__ = [
    "Cluster",
    "Double",
    "Fault",
    "Json",
    "Problem",
    "Request",
    "Shard",
    "State",
    "refused_port",
    "token",
]
