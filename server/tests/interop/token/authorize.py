"""The server that an Envoy asks about each request; it lets pass whoever asks with a good token of its own.

It speaks envoy.service.auth.v3.Authorization without a schema, and prints for each question the claims of the token
in `authorization`, or why it is no good.
"""

import argparse
import json
import signal
from concurrent import futures

import grpc
import jwt

CHECK = "/envoy.service.auth.v3.Authorization/Check"
# CheckResponse: status.code 0 and 7, which is PERMISSION_DENIED.
PASS, REFUSE = b"", b"\x0a\x02\x08\x07"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--listen", required=True, help="a unix socket, unix:PATH")
    parser.add_argument("--keys", required=True)
    parser.add_argument("--issuer", required=True)
    parser.add_argument("--audience", required=True)
    args = parser.parse_args()
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=4))
    server.add_generic_rpc_handlers((Handler(args),))
    # Tokens are only sent to servers that nobody can listen in on; a unix socket counts as one.
    server.add_secure_port(args.listen, grpc.local_server_credentials(grpc.LocalConnectionType.UDS))
    server.start()
    print(json.dumps({"ready": args.listen}), flush=True)
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
    server.stop(None)


class Handler(grpc.GenericRpcHandler):
    def __init__(self, args):
        self._args = args
        self._keys = jwt.PyJWKClient(args.keys)

    def service(self, details):
        if details.method == CHECK:
            return grpc.unary_unary_rpc_method_handler(self._check)
        return None

    def _check(self, _request, context):
        kind, _, token = dict(context.invocation_metadata()).get("authorization", "").partition(" ")
        try:
            key = self._keys.get_signing_key_from_jwt(token)
            claims = jwt.decode(token, key, algorithms=[key.algorithm_name], audience=self._args.audience,
                                issuer=self._args.issuer)
        except jwt.PyJWTError as error:
            print(json.dumps({"kind": kind, "error": f"{type(error).__name__}: {error}"}), flush=True)
            return REFUSE
        print(json.dumps({"kind": kind, "claims": claims}), flush=True)
        return PASS


if __name__ == "__main__":
    main()
