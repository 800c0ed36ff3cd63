package altsd.interop;

/** What a client has to tell, as one line of JSON. */
record Result(
    boolean ok,
    String peer,
    String server,
    int connections,
    String connection,
    String code,
    String error,
    long bytes,
    String sha256) {

  static Result success(String peer, String server, int connections, String connection) {
    return new Result(true, peer, server, connections, connection, "", "", 0, "");
  }

  static Result failure(String code, String error) {
    return new Result(false, "", "", 0, "", code, error, 0, "");
  }

  /** With what went there and back, if all went well. */
  Result withBulk(long bytes, String sha256) {
    return ok
        ? new Result(ok, peer, server, connections, connection, code, error, bytes, sha256)
        : this;
  }

  String json() {
    String format =
        "{\"ok\": %b, \"peer\": %s, \"server\": %s, \"connections\": %d, \"connection\": %s,"
            + " \"code\": %s, \"error\": %s, \"bytes\": %d, \"sha256\": %s}";
    return format.formatted(
        ok,
        quote(peer),
        quote(server),
        connections,
        quote(connection),
        quote(code),
        quote(error),
        bytes,
        quote(sha256));
  }

  static String quote(String text) {
    StringBuilder quoted = new StringBuilder("\"");
    for (char c : text.toCharArray()) {
      if (c == '"' || c == '\\' || c < 0x20) {
        quoted.append("\\u%04x".formatted((int) c));
      } else {
        quoted.append(c);
      }
    }
    return quoted.append('"').toString();
  }
}
