"""An ordinary gRPC program over ALTS: it serves a greeting and calls it.

Nothing here knows of altsd. Off Google Cloud it runs as

    altsd exec --handshaker 127.0.0.1:8080 -- python demo.py
"""

from concurrent import futures

import grpc

GREET = "/demo.Greeter/Greet"


class Greeter(grpc.GenericRpcHandler):
    def service(self, details):
        if details.method == GREET:
            return grpc.unary_unary_rpc_method_handler(greet)


def greet(name, context):
    caller = context.peer_identities()[0].decode()
    return f"Hello {name.decode()}, ALTS says you are {caller}".encode()


server = grpc.server(futures.ThreadPoolExecutor())
server.add_generic_rpc_handlers((Greeter(),))
port = server.add_secure_port("127.0.0.1:0", grpc.alts_server_credentials())
server.start()

with grpc.secure_channel(f"127.0.0.1:{port}", grpc.alts_channel_credentials()) as channel:
    print(channel.unary_unary(GREET)(b"world", timeout=15).decode())

server.stop(None)
