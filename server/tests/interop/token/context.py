"""A grpcio server whose callers are known by ALTS, and which gets a token for each from the handle of its handshake.

For each call it prints a line of JSON: the handle and what it got for it. With `--handle` it serves nobody: it is
somebody else who has come by a handle.
"""

import argparse
import http.client
import json
import signal
import socket
import sys
from concurrent import futures
from urllib.parse import urlencode

import grpc

CONTEXT = "altsd.context"
GRANT = "urn:ietf:params:oauth:grant-type:token-exchange"
CONTEXT_TYPE = "urn:altsd:token-type:alts-context"
# The field of AltsContext that is a map of what the handshaker says of the peer beside its name.
PEER_ATTRIBUTES = 7
WHO_AM_I = "/altsd.interop.Echo/WhoAmI"
LENGTH_DELIMITED = 2


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--tokens", required=True, help="the unix socket of the exchange")
    parser.add_argument("--audience", required=True)
    parser.add_argument("--handle")
    args = parser.parse_args()
    if args.handle:
        say(exchange(args, args.handle))
        return
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=4))
    server.add_generic_rpc_handlers((Handler(args),))
    port = server.add_secure_port("127.0.0.1:0", grpc.alts_server_credentials())
    server.start()
    say({"ready": f"127.0.0.1:{port}"})
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
    server.stop(None)


class Handler(grpc.GenericRpcHandler):
    """The unary call of the echo service."""

    def __init__(self, args):
        self._args = args

    def service(self, details):
        if details.method == WHO_AM_I:
            return grpc.unary_unary_rpc_method_handler(self._answer)
        return None

    def _answer(self, payload, context):
        handle = attributes(context.auth_context()["alts_context"][0]).get(CONTEXT, "")
        say({"handle": handle, **exchange(self._args, handle)})
        account = context.peer_identities()[0]
        return account + b"\n" + context.peer().encode() + b"\n" + payload


def attributes(context):
    """peer_attributes of a serialized AltsContext, which no package brings the types of."""
    entries = [value for number, value in fields(context) if number == PEER_ATTRIBUTES]
    return {pair[1].decode(): pair[2].decode() for pair in map(dict, map(fields, entries))}


def fields(message):
    """The fields of a protobuf message; of those that are numbers nothing but the number of the field."""
    at, found = 0, []
    while at < len(message):
        tag, at = varint(message, at)
        value, at = varint(message, at)
        if tag & 7 == LENGTH_DELIMITED:
            value, at = message[at:at + value], at + value
        found.append((tag >> 3, value))
    return found


def varint(message, at):
    value = shift = 0
    while True:
        byte = message[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at


def exchange(args, handle):
    form = {"grant_type": GRANT, "subject_token": handle, "subject_token_type": CONTEXT_TYPE,
            "audience": args.audience}
    connection = http.client.HTTPConnection("localhost", timeout=20)
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.connect(args.tokens)
    connection.request("POST", "/token", urlencode(form), {"content-type": "application/x-www-form-urlencoded"})
    reply = connection.getresponse()
    return {"status": reply.status, "answer": json.load(reply)}


def say(value):
    print(json.dumps(value), flush=True)


if __name__ == "__main__":
    sys.exit(main())
