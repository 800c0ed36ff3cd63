package altsd.interop;

import io.grpc.ChannelCredentials;
import io.grpc.StatusRuntimeException;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.util.ArrayList;
import java.util.List;

/**
 * Keeps one chat open. For each line of stdin it has to answer, and a new one is opened: a result
 * for each.
 */
final class Again {
  private static final double A_DAY = 86_400;

  private Again() {}

  /** Whether the first one was good. */
  static boolean run(Options options) throws IOException, InterruptedException {
    ChannelCredentials credentials = Peer.channelCredentials(options);
    Chat held = new Chat(options.withDeadline(A_DAY), credentials);
    Result first = use(options, List.of(held));
    System.out.println(first.json());
    BufferedReader lines = new BufferedReader(new InputStreamReader(System.in));
    while (first.ok() && lines.readLine() != null) {
      Result before = use(options, List.of(held));
      Result result =
          before.ok()
              ? use(options, List.of(held, new Chat(options, credentials)))
              : Result.failure("", "the open connection has ended: " + before.error());
      System.out.println(result.json());
    }
    return first.ok();
  }

  private static Result use(Options options, List<Chat> chats) throws InterruptedException {
    byte[] payload = "still here".getBytes();
    List<Reply> replies = new ArrayList<>();
    try {
      for (Chat chat : chats) {
        chat.send(payload);
        replies.add(chat.receive(payload));
      }
      return EchoClient.judge(options, replies);
    } catch (StatusRuntimeException e) {
      return EchoClient.refused(e);
    } catch (IllegalStateException e) {
      return Result.failure("", e.toString());
    }
  }
}
