package altsd.interop;

import io.grpc.CallOptions;
import io.grpc.ChannelCredentials;
import io.grpc.ClientCall;
import io.grpc.Grpc;
import io.grpc.ManagedChannel;
import io.grpc.StatusRuntimeException;
import io.grpc.stub.ClientCalls;
import java.security.NoSuchAlgorithmException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Set;
import java.util.concurrent.TimeUnit;
import java.util.stream.Collectors;

/** Plays one case and tells how it went. */
final class EchoClient {
  private EchoClient() {}

  static Result run(Options options) {
    try {
      ChannelCredentials credentials = Peer.channelCredentials(options);
      if (options.testCase().equals("bulk")) {
        return Bulk.run(options, credentials);
      }
      List<Reply> replies =
          switch (options.testCase()) {
            case "unary" -> unary(options, credentials);
            case "stream" -> stream(options, credentials);
            case "many" -> many(options, credentials);
            default -> throw new IllegalArgumentException("unknown case " + options.testCase());
          };
      return judge(options, replies);
    } catch (StatusRuntimeException e) {
      return refused(e);
    } catch (IllegalStateException | InterruptedException | NoSuchAlgorithmException e) {
      return Result.failure("", e.toString());
    }
  }

  static Result refused(StatusRuntimeException e) {
    return Result.failure(e.getStatus().getCode().name(), describe(e));
  }

  static Result judge(Options options, List<Reply> replies) {
    Set<String> accounts = replies.stream().map(Reply::account).collect(Collectors.toSet());
    Set<String> connections = replies.stream().map(Reply::connection).collect(Collectors.toSet());
    if (!accounts.equals(Set.of(options.expectPeer()))) {
      return Result.failure("", "the server saw " + accounts);
    }
    if (options.testCase().equals("many") && connections.size() != options.connections()) {
      return Result.failure(
          "", "%d connections instead of %d".formatted(connections.size(), options.connections()));
    }
    Reply first = replies.get(0);
    return Result.success(
        options.expectPeer(), first.server(), connections.size(), first.connection());
  }

  /** The handshaker's reason may be in a cause instead of the status. */
  private static String describe(StatusRuntimeException e) {
    StringBuilder text = new StringBuilder(String.valueOf(e.getStatus().getDescription()));
    for (Throwable cause = e.getStatus().getCause(); cause != null; cause = cause.getCause()) {
      text.append("; ").append(cause);
    }
    return text.toString();
  }

  private static List<Reply> unary(Options options, ChannelCredentials credentials) {
    ManagedChannel channel = open(options, credentials);
    Reply reply = whoAmI(channel, callOptions(options));
    channel.shutdownNow();
    return List.of(reply);
  }

  static Reply whoAmI(ManagedChannel channel, CallOptions callOptions) {
    ClientCall<byte[], byte[]> call = channel.newCall(Echo.WHO_AM_I, callOptions);
    byte[] payload = "hello".getBytes();
    return Reply.parse(ClientCalls.blockingUnaryCall(call, payload), payload, call);
  }

  private static List<Reply> stream(Options options, ChannelCredentials credentials)
      throws InterruptedException {
    Chat chat = new Chat(options, credentials);
    List<Reply> replies = new ArrayList<>();
    for (int size : options.sizes()) {
      byte[] payload = new byte[size];
      Arrays.fill(payload, (byte) (size % 251));
      chat.send(payload);
      replies.add(chat.receive(payload));
    }
    chat.finish();
    return replies;
  }

  /** No chat ends before the last one has been answered, so all connections are up together. */
  private static List<Reply> many(Options options, ChannelCredentials credentials)
      throws InterruptedException {
    List<Chat> chats = new ArrayList<>();
    for (int i = 0; i < options.connections(); i++) {
      chats.add(new Chat(options, credentials));
    }
    for (int i = 0; i < chats.size(); i++) {
      chats.get(i).send(Integer.toString(i).getBytes());
    }
    List<Reply> replies = new ArrayList<>();
    for (int i = 0; i < chats.size(); i++) {
      replies.add(chats.get(i).receive(Integer.toString(i).getBytes()));
    }
    for (Chat chat : chats) {
      chat.finish();
    }
    return replies;
  }

  static ManagedChannel open(Options options, ChannelCredentials credentials) {
    return Grpc.newChannelBuilder(options.target(), credentials).build();
  }

  static CallOptions callOptions(Options options) {
    long milliseconds = Math.round(options.deadlineSeconds() * 1000);
    return CallOptions.DEFAULT.withDeadlineAfter(milliseconds, TimeUnit.MILLISECONDS);
  }
}
