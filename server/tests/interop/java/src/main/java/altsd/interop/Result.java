package altsd.interop;

/** What a client has to tell, as one line of JSON. */
record Result(boolean ok, String peer, String server, int connections, String code, String error) {

  static Result success(String peer, String server, int connections) {
    return new Result(true, peer, server, connections, "", "");
  }

  static Result failure(String code, String error) {
    return new Result(false, "", "", 0, code, error);
  }

  String json() {
    return "{\"ok\": %b, \"peer\": %s, \"server\": %s, \"connections\": %d, \"code\": %s, \"error\": %s}"
        .formatted(ok, quote(peer), quote(server), connections, quote(code), quote(error));
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
