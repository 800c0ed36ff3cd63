package altsd.interop;

import io.grpc.ChannelCredentials;
import io.grpc.ManagedChannel;
import io.grpc.StatusRuntimeException;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.util.List;

/** One channel, on which a call is made at once and for each line of stdin: a result for each. */
final class Reconnect {
  private Reconnect() {}

  /** Whether the last one was good. */
  static boolean run(Options options) throws IOException {
    ChannelCredentials credentials = Peer.channelCredentials(options);
    ManagedChannel channel = EchoClient.open(options, credentials);
    BufferedReader lines = new BufferedReader(new InputStreamReader(System.in));
    while (true) {
      Result result = call(options, channel);
      System.out.println(result.json());
      if (lines.readLine() == null) {
        channel.shutdownNow();
        return result.ok();
      }
    }
  }

  private static Result call(Options options, ManagedChannel channel) {
    try {
      Reply reply =
          EchoClient.whoAmI(channel, EchoClient.callOptions(options).withWaitForReady());
      return EchoClient.judge(options, List.of(reply));
    } catch (StatusRuntimeException e) {
      return EchoClient.refused(e);
    } catch (IllegalStateException e) {
      return Result.failure("", e.toString());
    }
  }
}
