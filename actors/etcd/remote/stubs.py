"""gRPC and etcd's messages, which come with aetcd. Importing this costs 0.1 s and raises ImportError without aetcd."""

import os

os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # read at import: failures are told by errors, not by lines on stderr

try:
    import grpc as grpc  # type: ignore[import-untyped]
    from aetcd import rpc as rpc  # type: ignore[import-untyped]
    from aetcd.rpc import rpc_pb2 as rpc_pb2  # type: ignore[import-untyped]
except ImportError as missing:
    raise ImportError(f"a real etcd is spoken to through aetcd ({missing}): pip install 'kubeloop[etcd]'") from None
