"""A proxy that hands on the beginning of a connection byte by byte."""

import socket
import threading
import time

# An intermediate certificate included, a handshake is 1,100 bytes in each direction.
DRIPPED_BYTES = 3_000
# Time for the receiver to take a byte before the next one joins it.
PAUSE_SECONDS = 0.0005


class DripProxy:
    def __init__(self, target):
        self._target = split(target)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = "127.0.0.1:%d" % self._listener.getsockname()[1]
        self.dripped = {"to the server": 0, "to the client": 0}
        self._sockets = [self._listener]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self):
        for end in self._sockets:
            end.close()

    def _accept(self):
        while True:
            try:
                client, _ = self._listener.accept()
                server = socket.create_connection(self._target)
            except OSError:
                return
            self._sockets += [client, server]
            for source, sink, way in ((client, server, "to the server"), (server, client, "to the client")):
                sink.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                threading.Thread(target=self._carry, args=(source, sink, way), daemon=True).start()

    def _carry(self, source, sink, way):
        left = DRIPPED_BYTES
        try:
            while data := source.recv(65_536):
                for byte in data[:left]:
                    sink.sendall(bytes([byte]))
                    self.dripped[way] += 1
                    time.sleep(PAUSE_SECONDS)
                sink.sendall(data[left:])
                left = max(0, left - len(data))
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            # One end is gone; the other has to notice.
            sink.close()


def split(address):
    host, port = address.rsplit(":", 1)
    return host, int(port)
