package altsd.interop;

import io.grpc.ChannelCredentials;
import io.grpc.InsecureChannelCredentials;
import io.grpc.InsecureServerCredentials;
import io.grpc.ServerCredentials;
import io.grpc.alts.AltsChannelCredentials;
import io.grpc.alts.AltsServerCredentials;
import java.util.List;

/**
 * The grpc-java peer: the echo service of the interop suite and a client for it.
 *
 * <p>{@code --handshaker metadata} uses the credentials as any program on Google Cloud would, any
 * other value goes through grpc-java's switches for testing (HOST:PORT), {@code none} speaks
 * plaintext.
 */
public final class Peer {
  private Peer() {}

  public static void main(String[] arguments) throws Exception {
    Options options = Options.parse(List.of(arguments).subList(1, arguments.length));
    switch (arguments[0]) {
      case "server" -> EchoServer.serve(options);
      case "client" -> {
        boolean ok;
        if (options.testCase().equals("again")) {
          ok = Again.run(options);
        } else if (options.testCase().equals("reconnect")) {
          ok = Reconnect.run(options);
        } else {
          Result result = EchoClient.run(options);
          System.out.println(result.json());
          ok = result.ok();
        }
        // Idle event loops would keep the process for a while.
        System.exit(ok ? 0 : 1);
      }
      default -> throw new IllegalArgumentException("unknown role " + arguments[0]);
    }
  }

  static ChannelCredentials channelCredentials(Options options) {
    if (options.handshaker().equals("none")) {
      return InsecureChannelCredentials.create();
    }
    AltsChannelCredentials.Builder builder = new AltsChannelCredentials.Builder();
    options.serviceAccounts().forEach(builder::addTargetServiceAccount);
    if (!options.handshaker().equals("metadata")) {
      builder.enableUntrustedAltsForTesting().setHandshakerAddressForTesting(options.handshaker());
    }
    return builder.build();
  }

  static ServerCredentials serverCredentials(Options options) {
    if (options.handshaker().equals("none")) {
      return InsecureServerCredentials.create();
    }
    AltsServerCredentials.Builder builder = new AltsServerCredentials.Builder();
    if (!options.handshaker().equals("metadata")) {
      builder.enableUntrustedAltsForTesting().setHandshakerAddressForTesting(options.handshaker());
    }
    return builder.build();
  }
}
