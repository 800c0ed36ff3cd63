"""The grpcio peer: the echo service of the interop suite and a client for it.

grpcio has no option for the handshaker's address; `--handshaker metadata` is
whatever `metadata.google.internal.` resolves to, `none` speaks plaintext (the
application behind, or in front of, an Envoy).
"""

import argparse
import json
import queue
import signal
import sys
from concurrent import futures

import grpc

WHO_AM_I = "/altsd.interop.Echo/WhoAmI"
CHAT = "/altsd.interop.Echo/Chat"
CHAT_SIZES = (1, 1_000, 20_000, 300_000, 3_000_000)


def main():
    args = parse_arguments()
    if args.role == "server":
        return serve(args)
    if args.case == "again":
        return again(args)
    result = run_client(args)
    print(json.dumps(result), flush=True)
    return 0 if result["ok"] else 1


def parse_arguments():
    parser = argparse.ArgumentParser()
    roles = parser.add_subparsers(dest="role", required=True)
    server = roles.add_parser("server")
    server.add_argument("--listen", required=True)
    client = roles.add_parser("client")
    client.add_argument("--target", required=True)
    client.add_argument("--case", required=True, choices=["unary", "stream", "many", "again"])
    client.add_argument("--expect-peer", required=True)
    client.add_argument("--service-account", action="append")
    client.add_argument("--connections", type=int, default=100)
    client.add_argument("--deadline", type=float, default=15.0)
    for role in (server, client):
        role.add_argument("--handshaker", required=True, choices=["metadata", "none"])
    return parser.parse_args()


# The server.


def serve(args):
    # Every open Chat holds a thread, and one case opens a hundred of them.
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=256))
    server.add_generic_rpc_handlers((EchoHandler(),))
    if args.handshaker == "none":
        port = server.add_insecure_port(args.listen)
    else:
        port = server.add_secure_port(args.listen, grpc.alts_server_credentials())
    server.start()
    host = args.listen.rsplit(":", 1)[0]
    print(json.dumps({"ready": f"{host}:{port}"}), flush=True)
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
    server.stop(None)
    return 0


class EchoHandler(grpc.GenericRpcHandler):
    def service(self, details):
        if details.method == WHO_AM_I:
            return grpc.unary_unary_rpc_method_handler(answer)
        if details.method == CHAT:
            return grpc.stream_stream_rpc_method_handler(chat)
        return None


def chat(requests, context):
    for payload in requests:
        yield answer(payload, context)


def answer(payload, context):
    account, connection = caller(context)
    return f"{account}\n{connection}\n".encode() + payload


def caller(context):
    identities = context.peer_identities()
    if identities:
        return identities[0].decode(), context.peer()
    # Plaintext: an Envoy stands in front and tells whom it has authenticated.
    headers = dict(context.invocation_metadata())
    return headers.get("x-altsd-peer", ""), headers.get("x-altsd-connection", context.peer())


# The client.


def run_client(args):
    cases = {"unary": unary_case, "stream": stream_case, "many": many_case}
    return outcome(args, cases[args.case], args)


def again(args):
    """One chat stays open. For each line of stdin it has to answer, and a new one is opened: a result each."""
    held = Chat(open_channel(args), None)
    first = outcome(args, together, [held])
    print(json.dumps(first), flush=True)
    if not first["ok"]:
        return 1
    for _ in sys.stdin:
        print(json.dumps(outcome(args, use_and_open, held, args)), flush=True)
    return 0


def outcome(args, play, *details):
    try:
        peers, connections = play(*details)
    except grpc.RpcError as error:
        return {"ok": False, "code": error.code().name, "error": error.details()}
    except ValueError as error:
        return {"ok": False, "code": "", "error": str(error)}
    if peers != {args.expect_peer}:
        return {"ok": False, "code": "", "error": f"the server saw {sorted(peers)}"}
    return {"ok": True, "peer": args.expect_peer, "connections": len(connections)}


def together(chats):
    answers = [chat.exchange(b"still here") for chat in chats]
    return {account for account, _ in answers}, {connection for _, connection in answers}


def use_and_open(held, args):
    try:
        together([held])
    except grpc.RpcError as error:
        raise ValueError(f"the open connection has ended: {error.details()}") from None
    with open_channel(args) as channel:
        chat = Chat(channel, args.deadline)
        try:
            return together([held, chat])
        finally:
            chat.end()


def unary_case(args):
    with open_channel(args) as channel:
        reply = channel.unary_unary(WHO_AM_I)(b"hello", timeout=args.deadline)
        account, connection = parse(reply, b"hello")
        return {account}, {connection}


def stream_case(args):
    peers, connections = set(), set()
    with open_channel(args) as channel:
        chat = Chat(channel, args.deadline)
        for size in CHAT_SIZES:
            account, connection = chat.exchange(bytes([size % 251]) * size)
            peers.add(account)
            connections.add(connection)
        chat.finish()
    return peers, connections


def many_case(args):
    channels = [open_channel(args) for _ in range(args.connections)]
    chats = [Chat(channel, args.deadline) for channel in channels]
    for number, chat in enumerate(chats):
        chat.send(b"%d" % number)
    # No chat ends before the last one has been answered, so all connections are up together.
    answers = [chat.receive(b"%d" % number) for number, chat in enumerate(chats)]
    for chat in chats:
        chat.finish()
    for channel in channels:
        channel.close()
    connections = {connection for _, connection in answers}
    if len(connections) != args.connections:
        raise ValueError(f"{len(connections)} connections instead of {args.connections}")
    return {account for account, _ in answers}, connections


class Chat:
    """One Chat call: a reply is awaited for every message sent."""

    def __init__(self, channel, deadline):
        self._requests = queue.SimpleQueue()
        self._call = channel.stream_stream(CHAT)(iter(self._requests.get, None), timeout=deadline)

    def exchange(self, payload):
        self.send(payload)
        return self.receive(payload)

    def send(self, payload):
        self._requests.put(payload)

    def receive(self, payload):
        reply = next(self._call, None)
        if reply is None:
            raise ValueError("the server ended the chat early")
        return parse(reply, payload)

    def end(self):
        self._requests.put(None)

    def finish(self):
        self.end()
        if next(self._call, None) is not None:
            raise ValueError("the server said more than it was asked")


def open_channel(args):
    # Without this option channels to one target share a connection.
    options = [("grpc.use_local_subchannel_pool", 1)]
    if args.handshaker == "none":
        return grpc.insecure_channel(args.target, options)
    credentials = grpc.alts_channel_credentials(args.service_account)
    return grpc.secure_channel(args.target, credentials, options)


def parse(reply, payload):
    account, connection, echoed = reply.split(b"\n", 2)
    if echoed != payload:
        raise ValueError(f"{len(payload)} bytes came back as other {len(echoed)} bytes")
    return account.decode(), connection.decode()


if __name__ == "__main__":
    sys.exit(main())
