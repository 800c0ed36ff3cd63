package altsd.interop;

import static java.nio.charset.StandardCharsets.UTF_8;

import io.grpc.ClientCall;
import io.grpc.alts.AltsContextUtil;
import java.util.Arrays;

/**
 * What one reply tells: the account and the connection as the server saw them, and the server's
 * account as this client saw it.
 */
record Reply(String account, String connection, String server) {

  static Reply parse(byte[] reply, byte[] payload, ClientCall<?, ?> call) {
    int headerEnd = reply.length - payload.length;
    if (headerEnd < 0 || !Arrays.equals(Arrays.copyOfRange(reply, headerEnd, reply.length), payload)) {
      throw new IllegalStateException(payload.length + " bytes did not come back as they were");
    }
    String[] header = new String(reply, 0, headerEnd, UTF_8).split("\n", -1);
    String server =
        AltsContextUtil.check(call) ? AltsContextUtil.createFrom(call).getPeerServiceAccount() : "";
    return new Reply(header[0], header[1], server);
  }
}
