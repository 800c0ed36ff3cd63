"""The grpcio peer: the echo service of the interop suite and a client for it.

grpcio has no option for the handshaker's address; `--handshaker metadata` is
whatever `metadata.google.internal.` resolves to, `none` speaks plaintext (the
application behind, or in front of, an Envoy).
"""

import argparse
import hashlib
import json
import os
import queue
import signal
import sys
from concurrent import futures

import grpc

WHO_AM_I = "/altsd.interop.Echo/WhoAmI"
CHAT = "/altsd.interop.Echo/Chat"
GIVE = "/altsd.interop.Echo/Give"
SAY_HELLO = "/helloworld.Greeter/SayHello"
CHAT_SIZES = (1, 1_000, 20_000, 300_000, 3_000_000)
# Messages of the cases of much data, and how many may be under way.
BULK_BYTES = 1_000_000
BULK_AHEAD = 4


def main():
    args = parse_arguments()
    if args.role == "server":
        return serve(args)
    if args.case == "again":
        return again(args)
    if args.case == "reconnect":
        return reconnect(args)
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
    client.add_argument("--case", required=True, choices=[*CASES, "again", "reconnect"])
    client.add_argument("--expect-peer", required=True)
    client.add_argument("--service-account", action="append")
    client.add_argument("--connections", type=int, default=100)
    client.add_argument("--sizes", type=sizes, default=CHAT_SIZES)
    client.add_argument("--messages", type=int, default=100)
    client.add_argument("--deadline", type=float, default=15.0)
    for role in (server, client):
        role.add_argument("--handshaker", required=True, choices=["metadata", "none"])
    return parser.parse_args()


def sizes(text):
    return [int(size) for size in text.split(",")]


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
        if details.method == GIVE:
            return grpc.unary_stream_rpc_method_handler(give)
        if details.method == SAY_HELLO:
            return grpc.unary_unary_rpc_method_handler(greet)
        return None


def chat(requests, context):
    for payload in requests:
        yield answer(payload, context)


def answer(payload, context):
    account, connection = caller(context)
    return f"{account}\n{connection}\n".encode() + payload


def give(count, _context):
    """As many large messages, and what their hash is."""
    content, given = os.urandom(BULK_BYTES), hashlib.sha256()
    for number in range(int(count)):
        message = number.to_bytes(8, "little") + content[8:]
        given.update(message)
        yield message
    yield given.hexdigest().encode()


def greet(request, _context):
    """Both messages have one field, number 1, a short string."""
    greeting = b"Hello " + request[2:]
    return bytes([0x0A, len(greeting)]) + greeting


def caller(context):
    identities = context.peer_identities()
    if identities:
        return identities[0].decode(), context.peer()
    # Plaintext: an Envoy stands in front and tells whom it has authenticated.
    headers = dict(context.invocation_metadata())
    return headers.get("x-altsd-peer", ""), headers.get("x-altsd-connection", context.peer())


# The client.


def run_client(args):
    return outcome(args, CASES[args.case], args)


def reconnect(args):
    """One channel, on which a call is made at once and for each line of stdin: a result each."""
    with open_channel(args) as channel:
        while True:
            result = outcome(args, who_am_i, channel, args)
            print(json.dumps(result), flush=True)
            if not sys.stdin.readline():
                return 0 if result["ok"] else 1


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
        peers, connections, *more = play(*details)
    except grpc.RpcError as error:
        return {"ok": False, "code": error.code().name, "error": error.details()}
    except ValueError as error:
        return {"ok": False, "code": "", "error": str(error)}
    if peers != {args.expect_peer}:
        return {"ok": False, "code": "", "error": f"the server saw {sorted(peers)}"}
    more = more[0] if more else {}
    return {"ok": True, "peer": args.expect_peer, "connections": len(connections), **more}


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
        return who_am_i(channel, args)


def who_am_i(channel, args):
    reply = channel.unary_unary(WHO_AM_I)(b"hello", timeout=args.deadline, wait_for_ready=args.case == "reconnect")
    account, connection = parse(reply, b"hello")
    return {account}, {connection}, {"connection": connection}


def greeter_case(args):
    """The server does not tell whom it has greeted."""
    with open_channel(args) as channel:
        reply = channel.unary_unary(SAY_HELLO)(b"\x0a\x05world", timeout=args.deadline)
    return {args.expect_peer}, set(), {"greeting": reply[2:].decode()}


def stream_case(args):
    peers, connections = set(), set()
    with open_channel(args) as channel:
        chat = Chat(channel, args.deadline)
        for size in args.sizes:
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


def bulk_case(args):
    """Large messages there and back on one chat, some of them under way at any time."""
    peers, connections = set(), set()
    sent, received = hashlib.sha256(), hashlib.sha256()
    content = os.urandom(BULK_BYTES)
    with open_channel(args) as channel:
        chat = Chat(channel, args.deadline)
        for number in range(args.messages + BULK_AHEAD):
            if number < args.messages:
                message = number.to_bytes(8, "little") + content[8:]
                sent.update(message)
                chat.send(message)
            if number >= BULK_AHEAD:
                account, connection, echoed = chat.next_reply()
                received.update(echoed)
                peers.add(account.decode())
                connections.add(connection.decode())
        chat.finish()
    if sent.digest() != received.digest():
        raise ValueError(f"sent {sent.hexdigest()}, received {received.hexdigest()}")
    return peers, connections, {"bytes": args.messages * BULK_BYTES, "sha256": received.hexdigest()}


CASES = {
    "unary": unary_case, "stream": stream_case, "many": many_case, "bulk": bulk_case, "greeter": greeter_case,
}


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
        return judged(self.next_reply(), payload)

    def next_reply(self):
        reply = next(self._call, None)
        if reply is None:
            raise ValueError("the server ended the chat early")
        return reply.split(b"\n", 2)

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
    return judged(reply.split(b"\n", 2), payload)


def judged(parts, payload):
    account, connection, echoed = parts
    if echoed != payload:
        raise ValueError(f"{len(payload)} bytes came back as other {len(echoed)} bytes")
    return account.decode(), connection.decode()


if __name__ == "__main__":
    sys.exit(main())
