package altsd.interop;

import static java.nio.charset.StandardCharsets.UTF_8;

import io.grpc.Context;
import io.grpc.Contexts;
import io.grpc.Grpc;
import io.grpc.Metadata;
import io.grpc.Server;
import io.grpc.ServerCall;
import io.grpc.ServerCallHandler;
import io.grpc.ServerInterceptor;
import io.grpc.ServerServiceDefinition;
import io.grpc.alts.AltsContextUtil;
import io.grpc.netty.shaded.io.grpc.netty.NettyServerBuilder;
import io.grpc.stub.ServerCalls;
import io.grpc.stub.StreamObserver;
import java.io.ByteArrayOutputStream;
import java.net.InetSocketAddress;

/** Answers every message with the caller's account, its connection, and the message. */
final class EchoServer {
  private static final Context.Key<Caller> CALLER = Context.key("caller");

  private EchoServer() {}

  static void serve(Options options) throws Exception {
    String[] listen = options.listen().split(":");
    // grpc-java's neutral builder takes a port only and would serve on all addresses.
    Server server =
        NettyServerBuilder.forAddress(
                new InetSocketAddress(listen[0], Integer.parseInt(listen[1])),
                Peer.serverCredentials(options))
            .addService(service())
            .intercept(new CallerInterceptor())
            .build()
            .start();
    Runtime.getRuntime().addShutdownHook(new Thread(server::shutdownNow));
    System.out.printf("{\"ready\": \"%s:%d\"}%n", listen[0], server.getPort());
    server.awaitTermination();
  }

  private static ServerServiceDefinition service() {
    return ServerServiceDefinition.builder(Echo.SERVICE)
        .addMethod(Echo.WHO_AM_I, ServerCalls.asyncUnaryCall(EchoServer::whoAmI))
        .addMethod(Echo.CHAT, ServerCalls.asyncBidiStreamingCall(EchoServer::chat))
        .addMethod(Echo.GIVE, ServerCalls.asyncServerStreamingCall(Giving::start))
        .build();
  }

  private static void whoAmI(byte[] payload, StreamObserver<byte[]> replies) {
    replies.onNext(CALLER.get().answer(payload));
    replies.onCompleted();
  }

  private static StreamObserver<byte[]> chat(StreamObserver<byte[]> replies) {
    Caller caller = CALLER.get();
    return new StreamObserver<>() {
      @Override
      public void onNext(byte[] payload) {
        replies.onNext(caller.answer(payload));
      }

      @Override
      public void onError(Throwable cause) {}

      @Override
      public void onCompleted() {
        replies.onCompleted();
      }
    };
  }

  private record Caller(String account, String connection) {
    private static final Metadata.Key<String> PEER = header("x-altsd-peer");
    private static final Metadata.Key<String> CONNECTION = header("x-altsd-connection");

    static Caller of(ServerCall<?, ?> call, Metadata headers) {
      String address =
          String.valueOf(call.getAttributes().get(Grpc.TRANSPORT_ATTR_REMOTE_ADDR));
      if (AltsContextUtil.check(call)) {
        return new Caller(AltsContextUtil.createFrom(call).getPeerServiceAccount(), address);
      }
      // Plaintext: an Envoy stands in front and tells whom it has authenticated.
      String account = headers.containsKey(PEER) ? headers.get(PEER) : "";
      return new Caller(account, headers.containsKey(CONNECTION) ? headers.get(CONNECTION) : address);
    }

    byte[] answer(byte[] payload) {
      ByteArrayOutputStream reply = new ByteArrayOutputStream();
      reply.writeBytes("%s\n%s\n".formatted(account, connection).getBytes(UTF_8));
      reply.writeBytes(payload);
      return reply.toByteArray();
    }

    private static Metadata.Key<String> header(String name) {
      return Metadata.Key.of(name, Metadata.ASCII_STRING_MARSHALLER);
    }
  }

  private static final class CallerInterceptor implements ServerInterceptor {
    @Override
    public <Q, R> ServerCall.Listener<Q> interceptCall(
        ServerCall<Q, R> call, Metadata headers, ServerCallHandler<Q, R> next) {
      Context context = Context.current().withValue(CALLER, Caller.of(call, headers));
      return Contexts.interceptCall(context, call, headers, next);
    }
  }
}
