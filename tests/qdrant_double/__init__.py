"""A loopback double of a Qdrant server: its REST protocol over the real embedded engine.

Good enough for an unmodified QdrantClient, with faults on demand and a log of every request.
Status codes, words and shapes are those of Qdrant 1.18.3; tests/test_double_is_true.py sends the
same requests to double and server and compares the answers. Datatypes, quantisation, the search
graph and filters are the engine's, which is the server's. What stays different:

- One shard holds all points. There is no optimizer in the background: it runs before the first
  search after enough writes, so no write waits for it and none is deferred (prevent_unoptimized);
  a write is applied when it is answered, also without wait=true.
- A cluster has one truth. A replica that is behind, settings that lag, nodes that are dead or hang
  are played; deactivated replicas, partly applied writes, clocks, resharding, shard transfers and
  lagging deletions of aliases are not. `fail` answers with a server's words for these (TROUBLE).
- Points_count, estimates and a graph's misses are exact unless a test sets `count_error` and
  `recall_loss` of a Shard; red and grey collections are set by hand (`status`).
- Strict mode measures no payload bytes, memory or disk: a limit of 0 percent is always exceeded.
- Collections of named or sparse vectors can be made and described, not filled. No shard keys, no
  order_by, prefetch, lookup, multivectors, batches, snapshots over HTTP, `usage` or `warnings`.
- The words of JSON that cannot be read are not those of Rust's parser.
- Answers are not compressed; HTTP/1.1 alone, without TLS.
- What a request asks for and the double does not know is a 501, which no server answers.
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
